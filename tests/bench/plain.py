"""A minimal HTTP client over kept-alive sockets: an HTTP library takes milliseconds on a slow core, which
would distort the measured latency.
"""

import asyncio
import json
from typing import Any


class PlainClient:
    """Requests to one server, each on a free connection or a new one."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def post(self, path: str, body: Any) -> int:
        """POST JSON; return the HTTP status once the whole response has arrived."""
        pair = self._free.pop() if self._free else None
        reader, writer = pair or await asyncio.open_connection(self._host, self._port)
        data = json.dumps(body).encode()
        writer.write(
            f"POST {path} HTTP/1.1\r\nhost: {self._host}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(data)}\r\n\r\n".encode()
            + data
        )
        status, *headers = (await reader.readuntil(b"\r\n\r\n")).lower().split(b"\r\n")
        length = next(h for h in headers if h.startswith(b"content-length:"))
        await reader.readexactly(int(length.partition(b":")[2]))
        self._free.append((reader, writer))
        return int(status.split()[1])

    def close(self) -> None:
        for _, writer in self._free:
            writer.close()
