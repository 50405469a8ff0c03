"""The Cloud API client: one POST, and what its response means.

A request ends as one of: accepted, refused (Meta answered with an error), not sent (it cannot have
reached Meta), or ambiguous (it may have).
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

import httpx

from pytake.cookies import NoCookies
from pytake.whatsapp.errors import ErrorRule, rule_for

_NO_CODE = -1
_MAX_TEXT: Final = 512
_WRITING: Final = ("http11.send_request_headers.started", "http2.send_request_headers.started")
_WRITTEN: Final = ("http11.send_request_body.complete", "http2.send_request_body.complete")
"""Names of httpcore's trace events (https://www.encode.io/httpcore/extensions/#trace)."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """Meta's 200: the message has a wamid. It means accepted, not delivered."""

    wamid: str
    wa_id: str | None
    message_status: str | None = None


class SendError(Exception):
    """Base of send failures; ``str()`` is safe to show: it has no token and no message text."""


class NotSentError(SendError):
    """The request cannot have reached Meta: trying again is safe."""


class WithheldError(NotSentError):
    """The caller withdrew its permission before the request was written."""


class AmbiguousError(SendError):
    """The request may have reached Meta: trying again blindly could send twice."""


class RefusedError(SendError):
    """Meta answered with an error; ``rule`` says what to do about its code."""

    def __init__(
        self,
        code: int,
        http_status: int,
        message: str,
        details: str,
        trace: str,
        *,
        subcode: int | None = None,
        is_transient: bool | None = None,
    ) -> None:
        self.code = None if code == _NO_CODE else code
        self.rule: ErrorRule = rule_for(
            code, http_status, subcode=subcode, is_transient=is_transient
        )
        self.http_status = http_status
        self.message = message
        self.details = details
        self.trace = trace
        super().__init__(f"({code}) {message}" if code != _NO_CODE else f"HTTP {http_status}")


async def _always() -> bool:
    return True


class CloudApi:
    """One pooled connection to Meta for the whole process; reuse it, close it at the end."""

    def __init__(
        self, base_url: str, version: str, token: str, *, timeout: float, connections: int = 200
    ) -> None:
        self._timeout = timeout
        self._plain = base_url.startswith("http://")
        self._client = httpx.AsyncClient(
            base_url=f"{base_url}/{version}",
            headers={"Authorization": f"Bearer {token}"},
            timeout=httpx.Timeout(timeout, connect=min(timeout, 10.0)),
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
            http2=not self._plain,
            cookies=NoCookies(),
            trust_env=True,
            follow_redirects=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._client.aclose()

    async def send(
        self,
        phone_number_id: str,
        payload: dict[str, Any],
        may_write: Callable[[], Awaitable[bool]] = _always,
        written: Callable[[], None] = lambda: None,
    ) -> Accepted:
        """``POST /{phone_number_id}/messages``.

        Args:
            phone_number_id: the sending number.
            payload: the message's JSON body.
            may_write: awaited once connected, right before the request is written; whether to write it.
            written: called once the request is written.

        Raises:
            WithheldError: ``may_write`` returned False, or did not return before the call's timeout.
            RefusedError, NotSentError, AmbiguousError.
        """
        connected = writing = False

        async def trace(event: str, _info: dict[str, Any]) -> None:
            nonlocal connected, writing
            if event in _WRITING:
                connected = True
                if not await may_write():
                    raise WithheldError("not sent: it is no longer its turn")
                writing = True
            if event in _WRITTEN:
                written()

        try:
            async with asyncio.timeout(self._timeout):
                response = await self._client.post(
                    f"/{phone_number_id}/messages", json=payload, extensions={"trace": trace}
                )
        except (
            httpx.ConnectError,
            httpx.ConnectTimeout,
            httpx.PoolTimeout,
            httpx.UnsupportedProtocol,
        ) as error:
            raise NotSentError(f"no connection to the Cloud API: {_describe(error)}") from error
        except httpx.ReadError as error:
            if self._plain and _was_reset(error):
                # A peer that speaks plain HTTP is the server itself, with no TLS terminator or
                # proxy in between; its kernel answers with a reset when it closed without reading.
                raise NotSentError("the connection was reset with the request unread") from error
            raise AmbiguousError(f"the connection was lost: {_describe(error)}") from error
        except (TimeoutError, httpx.HTTPError, ssl.SSLError) as error:
            if not connected:
                raise NotSentError(f"no connection in time: {_describe(error)}") from error
            if not writing:
                raise WithheldError("not sent: its turn did not come in time") from error
            raise AmbiguousError(f"no answer from the Cloud API: {_describe(error)}") from error
        return read_answer(response)

    async def mark_read(self, phone_number_id: str, wamid: str, *, typing: bool) -> None:
        """Mark a contact's message (and those before it) as read; ``typing`` shows the indicator.

        Raises:
            RefusedError, NotSentError.
        """
        body: dict[str, Any] = {
            "messaging_product": "whatsapp",
            "status": "read",
            "message_id": wamid,
        }
        if typing:
            body["typing_indicator"] = {"type": "text"}
        try:
            response = await self._client.post(f"/{phone_number_id}/messages", json=body)
        except httpx.HTTPError as error:
            raise NotSentError(f"no answer from the Cloud API: {_describe(error)}") from error
        if response.status_code >= 400:
            raise _refusal(response)

    async def get(self, path: str, **params: str) -> dict[str, Any]:
        """A ``GET`` on the Graph API.

        Raises:
            RefusedError: with Meta's code.
            NotSentError: the network failed.
        """
        return (await self.get_with_headers(path, **params))[0]

    async def get_with_headers(
        self, path: str, **params: str
    ) -> tuple[dict[str, Any], httpx.Headers]:
        """:meth:`get` with the response headers, which report the used share of Meta's call budget.

        Raises:
            RefusedError, NotSentError.
        """
        try:
            response = await self._client.get(f"/{path}", params=params)
        except httpx.HTTPError as error:
            raise NotSentError(f"no answer from the Cloud API: {_describe(error)}") from error
        if response.status_code != 200:
            raise _refusal(response)
        try:
            body = response.json()
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise NotSentError("the answer of the Cloud API is not a JSON object")
        return body, response.headers


def read_answer(response: httpx.Response) -> Accepted:
    """Read Meta's response to the POST of a message.

    Raises:
        RefusedError: it is an error of Meta's.
        AmbiguousError: it has neither an error nor a message id, and may be from a gateway in between.
    """
    if response.status_code >= 400:
        raise _refusal(response)
    try:
        body = response.json()
        message = body["messages"][0]
        contacts = body.get("contacts") or [{}]
        accepted = Accepted(
            _text(message["id"]) or "",
            _text(contacts[0].get("wa_id")),
            _text(message.get("message_status")),
        )
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise AmbiguousError(f"HTTP {response.status_code} without a message id") from error
    if not accepted.wamid:
        raise AmbiguousError(f"HTTP {response.status_code} without a message id")
    return accepted


def _text(value: object) -> str | None:
    """The value if it is a short string: after a successful POST, an odd response must not fail later steps."""
    return value if isinstance(value, str) and len(value) <= _MAX_TEXT else None


def _refusal(response: httpx.Response) -> SendError:
    """Meta's error; a 5xx without one may come from a gateway that did forward the request."""
    try:
        error = response.json()["error"]
        data = error.get("error_data")
        details = str(data.get("details") or "") if isinstance(data, dict) else ""
        code, message = int(error.get("code", _NO_CODE)), str(error.get("message") or "")
        trace = str(error.get("fbtrace_id") or "")
        subcode, transient = error.get("error_subcode"), error.get("is_transient")
    except (ValueError, LookupError, TypeError, AttributeError):
        if response.status_code >= 500:
            return AmbiguousError(f"HTTP {response.status_code} without an error of Meta's")
        code, message, details, trace, subcode, transient = _NO_CODE, "", "", "", None, None
    return RefusedError(
        code,
        response.status_code,
        message[:500],
        details[:500],
        trace[:100],
        subcode=subcode if isinstance(subcode, int) else None,
        is_transient=transient if isinstance(transient, bool) else None,
    )


def _was_reset(error: BaseException) -> bool:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ConnectionResetError):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def _describe(error: BaseException) -> str:
    return f"{type(error).__name__}{f' ({error})' if str(error) else ''}"[:300]
