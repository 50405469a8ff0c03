"""Authentication middleware: checks the key before anything reads the body."""

import re
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from api.access import Authenticator
from api.errors import database_unavailable, problem_response
from api.ops.codec import PREFIX as CODEC_PREFIX
from pytake.callback.parse import CALLBACK_PATH
from pytake.database.engine import UNAVAILABLE
from pytake.problems import ForbiddenError, ProblemError
from pytake.settings import WhatsAppSettings

_PUBLIC: Final = re.compile(r"/|/docs|/openapi\.json|/swagger/[\w.-]+|/health/(live|ready)")
"""Paths without tenants' data; every other path, present or future, requires a key."""
_SIGNATURE: Final = re.compile(rb"sha256=[0-9a-fA-F]{64}")


class Gate:
    """Refuses requests without a valid key; sets ``request.state.principal``."""

    def __init__(self, app: ASGIApp, settings: WhatsAppSettings) -> None:
        self._app = app
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            await self._admit(scope)
        except (ProblemError, *UNAVAILABLE) as error:
            problem = error if isinstance(error, ProblemError) else database_unavailable(error)
            await problem_response(scope["path"], problem)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    async def _admit(self, scope: Scope) -> None:
        path, headers = scope["path"], scope["headers"]
        authenticator: Authenticator = scope["state"]["authenticator"]
        if path == CALLBACK_PATH:
            self._admit_callback(authenticator, scope)
        elif not _PUBLIC.fullmatch(path):
            client = scope["client"][0] if scope["client"] else ""
            codec = path.startswith(CODEC_PREFIX)
            scope["state"]["principal"] = await authenticator.principal(
                headers, client, codec=codec
            )

    def _admit_callback(self, authenticator: Authenticator, scope: Scope) -> None:
        """Admit Meta's callback, which has no key: its signature is checked once the body is read."""
        if scope["method"] != "POST":
            return
        if self._settings.signature_key is None:
            authenticator.check_local(scope["headers"])
            return
        signatures = [v for name, v in scope["headers"] if name == b"x-hub-signature-256"]
        if len(signatures) != 1 or not _SIGNATURE.fullmatch(signatures[0].strip()):
            raise ForbiddenError("X-Hub-Signature-256 is missing or wrong")
