"""The server's HTTP protocol: limits what a client may cost in bytes, time and connections.

uvicorn's own limits neither headers nor the duration of a request, and closes the connection while the
client is still writing, so that the client never sees the response.
"""

import asyncio
from typing import Final, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES: Final = 64 * 1024
"""Limit of the request line with its headers, and of a body's framing (chunk headers, trailers)."""
HEADERS: Final = 200
HEAD_SECONDS: Final = 10.0
BODY_SECONDS: Final = 20.0
BODY_BYTES_PER_SECOND: Final = 4096
"""A body may take BODY_SECONDS plus one second for each of this many bytes received."""
WRITE_SECONDS: Final = 120.0
"""How long a client may leave a response unread."""
DISCARDED_BYTES: Final = 64 * 1024 * 1024
LINGER_SECONDS: Final = 10.0
"""How long input is read and discarded after a refusal, so that a client still writing sees it
(RFC 9112, 9.6)."""


def _most_connections() -> int:
    """The most connections of one process: its file limit minus what else it has to open."""
    try:
        import resource
    except ImportError:  # not on every platform
        return 500
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return min(max(allowed - 200, 100), 10_000)


MOST_CONNECTIONS: Final = _most_connections()


class BoundedProtocol(HttpToolsProtocol):
    """HTTP/1.1 with limits; see the module's constants."""

    _in_head = True
    _in_body = False
    _overhead = 0
    _body_bytes = 0
    _discarded = 0
    _refused = False
    _timer: asyncio.TimerHandle | None = None
    _write_timer: asyncio.TimerHandle | None = None
    _body_deadline = 0.0
    _reported = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """A client has connected."""
        super().connection_made(cast(asyncio.Transport, _Lingering(transport, self)))
        if len(self.connections) <= MOST_CONNECTIONS:
            self._timer = self.loop.call_later(HEAD_SECONDS, self._too_slow)
            return
        if BoundedProtocol._reported < self.loop.time():
            BoundedProtocol._reported = self.loop.time() + 60
            self.logger.warning("connections are refused: there are %d", MOST_CONNECTIONS)
        transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has disconnected."""
        self._stop_timer()
        if self._write_timer is not None:
            self._write_timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes from the client."""
        if self._refused:
            self._discard(len(data))
            return
        self._overhead += len(data)
        super().data_received(data)
        if self._refused or self.transport.is_closing():
            return
        if self._overhead > HEAD_BYTES + self._body_bytes:
            self._refuse(431, "The headers are too large.")
        elif self._timer is None and self._in_body:
            self._body_deadline = self.loop.time() + BODY_SECONDS
            self._timer = self.loop.call_at(self._body_deadline, self._body_slow)
        elif self._timer is None and self._overhead:
            self._timer = self.loop.call_later(HEAD_SECONDS, self._too_slow)

    def on_headers_complete(self) -> None:
        """The headers are complete; the body may still be arriving."""
        self._stop_timer()
        self._in_head, self._in_body, self._discarded = False, True, 0
        if self._refused or self.transport.is_closing():
            return
        head = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if head > HEAD_BYTES or len(self.headers) > HEADERS:
            self._refuse(431, "The headers are too large.")
            return
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Part of the body has arrived."""
        if self._refused:
            return
        self._body_bytes += len(body)
        self._overhead -= len(body)
        if self.cycle.response_complete:
            self._discard(len(body))
            return
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is complete."""
        self._stop_timer()
        self._in_head, self._in_body = True, False
        self._overhead = self._body_bytes = 0
        if self._refused:
            return
        super().on_message_complete()
        if self.transport.is_closing():
            cast(_Lingering, self.transport).finish()

    def on_response_complete(self) -> None:
        """The response is written; a client waiting for ``100 Continue`` will not get it any more."""
        waited = self.expect_100_continue and self._in_body and not self._body_bytes
        super().on_response_complete()
        if waited:
            self.transport.close()

    def pause_writing(self) -> None:
        """The client reads more slowly than we write."""
        super().pause_writing()
        if self._write_timer is None:
            self._write_timer = self.loop.call_later(WRITE_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """The client is reading again."""
        super().resume_writing()
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    @property
    def reads_on(self) -> bool:
        """Whether input is still being read and discarded."""
        return self._in_body or self._refused

    def _refuse(self, status: int, text: str) -> None:
        """Respond without the application, and keep reading until the client has seen it."""
        if self.transport.is_closing():
            self.transport.abort()
            return
        self._refused = True
        self._stop_timer()
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            if self.cycle.response_started:
                self.transport.abort()
                return
        reason = {408: b"Request Timeout", 431: b"Request Header Fields Too Large"}[status]
        body = text.encode()
        lines = [b"HTTP/1.1 %d %s" % (status, reason), b"content-type: text/plain; charset=utf-8"]
        lines += [b"%s: %s" % pair for pair in self.server_state.default_headers]
        lines += [b"content-length: %d" % len(body), b"connection: close", b"", body]
        self.transport.write(b"\r\n".join(lines))
        self.transport.close()

    def _discard(self, count: int) -> None:
        self._discarded += count
        if self._discarded > DISCARDED_BYTES:
            self.transport.abort()

    def _too_slow(self) -> None:
        self._timer = None
        if self._in_head and not self._overhead:
            self.transport.abort()  # the connection never sent anything
        else:
            self._refuse(408, "The request took too long to arrive.")

    def _body_slow(self) -> None:
        """The body's time is up, unless it arrives fast enough, or the application is not reading it."""
        self._timer = None
        allowed = self._body_deadline + self._body_bytes / BODY_BYTES_PER_SECOND
        at = self.loop.time()
        if allowed > at or self.flow.read_paused:
            self._timer = self.loop.call_at(max(allowed, at + 1), self._body_slow)
        elif self.cycle.response_complete:
            self.transport.abort()
        else:
            self._refuse(408, "The body took too long to arrive.")

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class _Lingering:
    """A transport whose ``close`` first lets a client that is still writing read the response."""

    def __init__(self, transport: asyncio.Transport, protocol: BoundedProtocol) -> None:
        self._transport = transport
        self._protocol = protocol
        self._closing = False
        self.write = transport.write
        self.abort = transport.abort
        self.pause_reading = transport.pause_reading
        self.resume_reading = transport.resume_reading
        self.get_extra_info = transport.get_extra_info

    def is_closing(self) -> bool:
        return self._closing or self._transport.is_closing()

    def close(self) -> None:
        if self.is_closing():
            return
        self._closing = True
        if not self._protocol.reads_on:
            self.finish()
            return
        self._protocol.flow.resume_reading()
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._protocol.loop.call_later(LINGER_SECONDS, self._transport.abort)

    def finish(self) -> None:
        """Close once everything is written, or after a while even if the client does not read."""
        self._transport.close()
        self._protocol.loop.call_later(WRITE_SECONDS, self._transport.abort)
