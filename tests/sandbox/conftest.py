"""A sandbox that is called over HTTP."""

import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
import uvicorn

from pytake.sandbox.server import build_server
from pytake.settings import Settings
from tests.stack import make_settings


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[tuple[Settings, uvicorn.Server]]:
    """The sandbox with an event loop of its own."""
    settings = make_settings(tmp_path)
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
