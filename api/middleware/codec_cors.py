"""Lets the pages of the Temporal Web UI, and no others, call the codec from a browser."""

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from api.ops.codec import PREFIX


class CodecCors:
    """CORS for the codec's paths; the rest of the API has none."""

    def __init__(self, app: ASGIApp, ui_origin: str) -> None:
        self._app = app
        self._codec = CORSMiddleware(
            app,
            allow_origins=[ui_origin],
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", "X-Namespace"],
            allow_credentials=True,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        codec = scope["type"] == "http" and scope["path"].startswith(PREFIX)
        await (self._codec if codec else self._app)(scope, receive, send)
