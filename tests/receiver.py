"""A tenant's system: a real HTTP server whose answers are scripted by path."""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn

from tests.stack import free_port, serving

Answer = tuple[int, dict[str, str], bytes]


@dataclass
class Received:
    at: float
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """``script(path, ...)`` sets what is answered; the last answer stays."""

    port: int = 0
    received: defaultdict[str, list[Received]] = field(default_factory=lambda: defaultdict(list))
    _answers: dict[str, list[Any]] = field(default_factory=dict)

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def script(self, path: str, *answers: Any) -> str:
        """Statuses, (status, headers, body) or one of hang, close, large; returns the URL."""
        self._answers[path] = list(answers)
        return self.url(path)

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        path = scope["path"]
        headers = {k.decode(): v.decode() for k, v in scope["headers"]}
        self.received[path].append(Received(time.time(), headers, body))
        answers = self._answers.get(path, [200])
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if callable(answer):
            answer = answer(headers, body)
        if answer == "hang":
            await asyncio.sleep(60)
            return
        if answer == "close":
            scope["extensions"]["transport"].abort()
            return
        if answer == "large":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            for _ in range(800):
                await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
            return
        status, extra, content = (answer, {}, b"ok") if isinstance(answer, int) else answer
        raw = [(k.encode(), v.encode()) for k, v in extra.items()]
        await send({"type": "http.response.start", "status": status, "headers": raw})
        await send({"type": "http.response.body", "body": content})


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    class Protocol(HttpToolsProtocol):
        def on_message_begin(self) -> None:
            super().on_message_begin()
            extensions: dict[str, Any] = {"transport": self.transport}
            self.scope["extensions"] = extensions

    receiver = Receiver(free_port())
    config = uvicorn.Config(
        receiver,
        host="127.0.0.1",
        port=receiver.port,
        http=Protocol,
        log_config=None,
        lifespan="off",
        timeout_graceful_shutdown=1,
    )
    async with serving(uvicorn.Server(config)):
        yield receiver
