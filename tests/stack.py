"""PyTake's real parts, started for tests: Temporal server, worker, API and sandbox over HTTP."""

import asyncio
import contextlib
import itertools
import os
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from temporalio.client import Client, Interceptor
from temporalio.converter import PayloadCodec

import worker
from api.app import build_server as build_api
from pytake.access import keys
from pytake.clock import now
from pytake.database.engine import Database
from pytake.numbers import owners as number_owners
from pytake.numbers import store as numbers
from pytake.numbers.senders import INSTALLATION
from pytake.sandbox.server import build_server
from pytake.settings import Settings, load_settings
from pytake.temporal import client as temporal
from pytake.temporal import embedded as embedded_temporal
from pytake.temporal.codec import codec_of

EXAMPLE = {
    "to": "5561994013828",
    "message_type": "template",
    "content": {"name": "pytake_saudacao", "language": "pt_BR"},
    "priority": "High",
    "max_attempts": 5,
}

ENCRYPTION_KEY = "m0vQ5yl8ZQ2wZ0cQ3bq8Jv7b8n1JrQ5mYp6sT2uXw3E="

_counter = itertools.count(int(time.time() * 1000) % 10**9 * 1000)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def fresh_number() -> str:
    """A phone number id that no other test uses."""
    return str(next(_counter))


def fresh_recipient() -> str:
    return f"556199{next(_counter) % 10**7:07d}"


@contextmanager
def temporal_server(directory: Path) -> Iterator[str]:
    """A Temporal server of its own; yields its address."""
    port = free_port()
    command = embedded_temporal.command(directory / "temporal.db", port=port, ui_port=None)
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


async def connect(
    address: str, interceptors: Sequence[Interceptor] = (), codec: PayloadCodec | None = None
) -> Client:
    deadline = time.monotonic() + 60
    while True:
        try:
            client = await temporal.connect(target=address, interceptors=interceptors, codec=codec)
            await temporal.ensure_search_attributes(client)
            await temporal.ensure_rate_limits(client)
        except RuntimeError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.2)
        else:
            return client


def make_settings(directory: Path, database_url: str | None = None, **changes: Any) -> Settings:
    """The settings of the tests, and ``changes`` of them, by their variables' names."""
    values: dict[str, Any] = {
        "PYTAKE_DATA_DIR": directory,
        "DATABASE_URL": database_url,
        "PYTAKE_PORT": free_port(),
        "PYTAKE_SANDBOX_PORT": free_port(),
        "PYTAKE_SANDBOX": True,
        "MESSAGE_TIER": "TIER_UNLIMITED",
        "WHATSAPP_TIMEOUT_SECONDS": 3.0,
        "PYTAKE_RECEIPT_WAIT_SECONDS": 2.0,
        "WHATSAPP_APP_SECRET": "app-secret",
        "PYTAKE_WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8",
        "PYTAKE_ENCRYPTION_KEYS": ENCRYPTION_KEY,
        "PYTAKE_ENCRYPT_PAYLOADS": False,
        "WHATSAPP_WEBHOOK_VERIFY_TOKEN": "verify-me",
        "PYTAKE_AUTO_RESPONDER": False,
        "PYTAKE_SNAPSHOT_SECONDS": 0,
        "PYTAKE_WORKFLOW_SANDBOX": False,
        "PYTAKE_RETENTION_DAYS": 0,
        "PYTAKE_RECONCILE_SECONDS": 0,
        "PYTAKE_WEBHOOK_MIN_BACKOFF_SECONDS": 0.1,
        "PYTAKE_REQUESTS_PER_SECOND": 0.0,
        **changes,
    }
    values.setdefault("WHATSAPP_API_BASE_URL", f"http://127.0.0.1:{values['PYTAKE_SANDBOX_PORT']}")
    return load_settings(values, env_file=None)


@asynccontextmanager
async def serving(server: uvicorn.Server) -> AsyncIterator[None]:
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign]
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.02)
        if task.done():
            task.result()
    try:
        yield
    finally:
        server.should_exit = True
        await task


@dataclass
class Stack:
    """A running PyTake, and shorthands to use it as its users do."""

    settings: Settings
    client: Client
    database: Database
    api: httpx.AsyncClient
    sandbox: httpx.AsyncClient
    _seen: int = field(default=0)

    async def send(
        self, *, expect: int = 202, headers: dict[str, str] | None = None, **changes: Any
    ) -> dict[str, Any]:
        """POST the example with changes; returns the body."""
        response = await self.api.post(
            "/api/v1/queue/send", json={**EXAMPLE, **changes}, headers=headers
        )
        assert response.status_code == expect, response.text
        body: dict[str, Any] = response.json()
        return body

    async def message(self, message_id: str) -> dict[str, Any]:
        response = await self.api.get(f"/api/v1/queue/message/{message_id}")
        assert response.status_code == 200, response.text
        body: dict[str, Any] = response.json()
        return body

    async def until(self, message_id: str, *statuses: str, seconds: float = 30) -> dict[str, Any]:
        """The message once it has one of the statuses."""
        view: dict[str, Any] = {}

        async def reached() -> bool:
            view.update(await self.message(message_id))
            return view["status"] in statuses

        await eventually(
            reached, seconds, lambda: f"still {view.get('status')}, not {statuses}: {view}"
        )
        return view

    async def fault(self, kind: str, **fields: Any) -> None:
        response = await self.sandbox.post("/sandbox/faults", json={"kind": kind, **fields})
        assert response.status_code == 201, response.text

    async def clear_faults(self) -> None:
        await self.sandbox.delete("/sandbox/faults")

    async def accepted(self, **equal: Any) -> list[dict[str, Any]]:
        """The messages that the sandbox accepted, in order, with these fields."""
        listed = (await self.sandbox.get("/sandbox/messages")).json()
        return [m for m in listed if all(m[k] == v for k, v in equal.items())]

    async def accepted_once(self, message_id: str) -> dict[str, Any]:
        found = await self.accepted(biz_opaque_callback_data=message_id)
        assert len(found) == 1, f"accepted {len(found)} times"
        return found[0]

    async def stats(self) -> dict[str, Any]:
        response = await self.api.get("/api/v1/queue/stats")
        assert response.status_code == 200, response.text
        body: dict[str, Any] = response.json()
        return body

    async def register(
        self, *, rate: float = 80, tier: str = "TIER_UNLIMITED", tenant: str = "default"
    ) -> str:
        """A number of its own, with a portfolio of its own."""
        number = fresh_number()
        await self.database.write(
            numbers.register,
            number,
            tenant_id=tenant,
            portfolio_id=f"p{number}",
            rate=rate,
            tier=tier,
        )
        return number

    async def share(self, tenant: str) -> None:
        """Let a tenant send from the installation's number."""
        await self.database.write(number_owners.share, INSTALLATION, tenant)

    async def inbound(self, sender: str, text: str = "oi", number: str | None = None) -> str:
        body = {"from": sender, "text": text, "phone_number_id": number}
        response = await self.sandbox.post("/sandbox/inbound", json=body)
        assert response.status_code == 202, response.text
        wamid: str = response.json()["wamid"]
        return wamid


async def eventually(
    check: Callable[[], Awaitable[bool]], seconds: float = 20, why: Callable[[], str] = lambda: ""
) -> None:
    deadline = time.monotonic() + seconds
    while not await check():
        if time.monotonic() > deadline:
            raise AssertionError(why() or "did not become true in time")
        await asyncio.sleep(0.1)


@asynccontextmanager
async def running_stack(
    settings: Settings,
    address: str,
    *,
    with_worker: bool = True,
    interceptors: Sequence[Interceptor] = (),
) -> AsyncIterator[Stack]:
    os.environ["TEMPORAL_ADDRESS"] = address
    database = Database(settings.storage.sqlalchemy_url)
    database.migrate()
    client = await connect(address, interceptors, codec_of(settings.storage))
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(serving(build_server(settings, seed=1)))
        await stack.enter_async_context(serving(build_api(settings)))
        if with_worker:
            await stack.enter_async_context(worker.running(settings, client, database))
        address = f"http://127.0.0.1:{settings.api.port}"
        api = await stack.enter_async_context(
            http(address, await authorization(database, settings))
        )
        sandbox = await stack.enter_async_context(http(f"http://127.0.0.1:{settings.sandbox.port}"))
        yield Stack(settings, client, database, api, sandbox)
    database.close()


async def authorization(database: Database, settings: Settings) -> dict[str, str]:
    """The header of an admin's new key; none for an API without keys."""
    if settings.api.keyless:
        return {}
    _, text = await database.write(
        keys.create, tenant_id="default", admin=True, name="tests", now=now()
    )
    return bearer(text)


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def http(base_url: str, headers: dict[str, str] | None = None) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=base_url, headers=headers, timeout=30, trust_env=False)
