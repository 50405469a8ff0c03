"""A limit on the size of request bodies, before anything reads them."""

from contextlib import suppress
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import problem_response
from api.ops.codec import PREFIX
from pytake.callback.parse import CALLBACK_PATH, MAX_BYTES
from pytake.problems import TooLargeError

_DEFAULT: Final = 1024 * 1024
_LIMITS: Final = {
    CALLBACK_PATH: MAX_BYTES,
    # A page of a workflow's history, in Base64.
    **dict.fromkeys((f"{PREFIX}/decode", f"{PREFIX}/encode"), 16 * _DEFAULT),
}


class _TooLargeError(Exception):
    pass


class BodyLimit:
    """Answers 413 to a body over 1 MB (3 MB for Meta's callback, 16 MB for the codec), declared or
    streamed.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        maximum = _LIMITS.get(scope["path"], _DEFAULT)
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > maximum:
            await self._refuse(maximum, scope, receive, send)
            return
        seen, started = 0, False

        async def limited() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > maximum:
                raise _TooLargeError
            return message

        async def watched(message: Message) -> None:
            nonlocal started
            if seen > maximum and not started:
                return  # the application's response to the incomplete body is dropped
            started = True
            await send(message)

        with suppress(_TooLargeError):
            await self._app(scope, limited, watched)
        if seen > maximum and not started:
            await self._refuse(maximum, scope, receive, send)

    @staticmethod
    async def _refuse(maximum: int, scope: Scope, receive: Receive, send: Send) -> None:
        error = TooLargeError(f"the body may have at most {maximum} bytes")
        await problem_response(scope["path"], error)(scope, receive, send)
