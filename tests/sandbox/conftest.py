"""A sandbox that is called over HTTP."""

import json
import threading
import time
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from pytake.callback.parse import CALLBACK_PATH
from pytake.sandbox.server import build_server
from pytake.settings import Settings
from tests.stack import make_settings


@pytest.fixture
def callbacks() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Where the sandbox calls back: its address, and the ``value`` of each change, as they come."""
    values: list[dict[str, Any]] = []

    class _Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            values.extend(change["value"] for e in body["entry"] for change in e["changes"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}{CALLBACK_PATH}", values
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def sandbox(
    tmp_path: Path, callbacks: tuple[str, object]
) -> Iterator[tuple[Settings, uvicorn.Server]]:
    """The sandbox with an event loop of its own."""
    settings = make_settings(tmp_path, PYTAKE_SANDBOX_CALLBACK_URL=callbacks[0])
    server = build_server(settings, seed=1)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield settings, server
    server.should_exit = True
    thread.join()


@pytest.fixture
async def client(sandbox: tuple[Settings, uvicorn.Server]) -> AsyncIterator[httpx.AsyncClient]:
    """Calls of the sandbox with a token."""
    async with httpx.AsyncClient(
        base_url=sandbox[0].whatsapp.api_base_url,
        headers={"Authorization": "Bearer t"},
        trust_env=False,
        timeout=20,
    ) as client:
        yield client
