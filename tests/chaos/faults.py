"""The faults: each strikes, lasts for a while, and ends; all are undone at the end of a run."""

import asyncio
import os
import resource
import signal
import sqlite3
import subprocess
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.postgres import Postgres
from tests.up import Up


@dataclass
class Site:
    """What the faults strike."""

    up: Up
    sandbox: httpx.AsyncClient
    postgres: Postgres | None = None

    @property
    def database(self) -> Path:
        return self.up.directory / "data" / "pytake.db"

    def kill(self, *parts: str, by: int = signal.SIGKILL) -> None:
        """Kill parts of ``pytake up``; its supervisor starts them again."""
        children = self.up.children()
        for part in parts:
            if part in children:
                os.kill(children[part], by)

    async def sandbox_fault(self, **fault: object) -> None:
        """Switch on a fault of the sandbox as soon as the sandbox is up."""
        for _ in range(60):
            try:
                response = await self.sandbox.post("/sandbox/faults", json=fault)
            except httpx.HTTPError:
                await asyncio.sleep(0.5)
                continue
            assert response.status_code == 201, response.text
            return

    async def calm(self) -> None:
        """Switch off all faults of the sandbox."""
        for _ in range(120):
            try:
                await self.sandbox.delete("/sandbox/faults")
            except httpx.HTTPError:
                await asyncio.sleep(0.5)
                continue
            return


def _killing(*parts: str, by: int = signal.SIGKILL) -> Callable[[Site], Awaitable[None]]:
    async def strike(site: Site) -> None:
        site.kill(*parts, by=by)
        await asyncio.sleep(8)

    return strike


def _sandbox(lasting: float, /, **fault: object) -> Callable[[Site], Awaitable[None]]:
    async def strike(site: Site) -> None:
        await site.sandbox_fault(**fault)
        await asyncio.sleep(lasting)
        await site.calm()

    return strike


async def _database_locked(site: Site) -> None:
    """Another process holds the write lock longer than anybody waits for it."""

    def hold() -> None:
        connection = sqlite3.connect(site.database, timeout=30, isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        time.sleep(14)
        connection.execute("ROLLBACK")
        connection.close()

    await asyncio.to_thread(hold)


async def _database_full(site: Site) -> None:
    """The disk is full: a limit on file size for the API and the worker."""
    children = site.up.children()
    pids = [children[part] for part in ("api", "worker") if part in children]
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    limited = []
    for pid in pids:
        try:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
            limited.append(pid)
        except OSError:
            continue
    await asyncio.sleep(6)
    for pid in limited:
        try:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, unlimited)
        except OSError:
            continue


def _postgres_gone(how: Callable[[Postgres], None]) -> Callable[[Site], Awaitable[None]]:
    async def strike(site: Site) -> None:
        assert site.postgres is not None
        await asyncio.to_thread(how, site.postgres)
        await asyncio.sleep(8)
        for _ in range(20):
            try:
                await asyncio.to_thread(site.postgres.start)
            except subprocess.SubprocessError:
                await asyncio.sleep(1)
                continue
            return
        raise AssertionError("PostgreSQL does not start any more")

    return strike


async def _postgres_locked(site: Site) -> None:
    assert site.postgres is not None
    connection = await asyncio.to_thread(site.postgres.lock)
    await asyncio.sleep(14)
    await asyncio.to_thread(connection.close)


async def _postgres_gone_with_the_worker(site: Site) -> None:
    """The worker comes back before its database does."""
    site.kill("worker", "api")
    await _postgres_gone(Postgres.kill)(site)


FAULTS: dict[str, Callable[[Site], Awaitable[None]]] = {
    "kill -9 worker": _killing("worker"),
    "kill -9 api": _killing("api"),
    "kill -9 temporal": _killing("temporal"),
    "kill -9 sandbox": _killing("sandbox"),
    "kill -9 worker and api": _killing("worker", "api"),
    "kill -9 everything": _killing("worker", "api", "temporal", "sandbox"),
    "SIGTERM worker": _killing("worker", by=signal.SIGTERM),
    "SIGTERM api": _killing("api", by=signal.SIGTERM),
    "database locked": _database_locked,
    "database full": _database_full,
    "Meta slow": _sandbox(8, kind="latency", seconds=1.5, rate=0.5),
    "Meta hangs": _sandbox(8, kind="hang_after", rate=0.2),
    "5 % of calls dropped before acceptance": _sandbox(8, kind="drop_before", rate=0.05),
    "5 % of calls dropped after acceptance": _sandbox(8, kind="drop_after", rate=0.05),
    "Meta fails now and then": _sandbox(8, kind="error", code=131016, rate=0.3),
    "statuses three times": _sandbox(8, kind="status_duplicate"),
    "statuses reversed": _sandbox(8, kind="status_reorder"),
    "statuses withheld": _sandbox(8, kind="status_withhold"),
}
ON_POSTGRES: dict[str, Callable[[Site], Awaitable[None]]] = {
    "PostgreSQL stopped and started": _postgres_gone(Postgres.stop),
    "PostgreSQL killed and started": _postgres_gone(Postgres.kill),
    "PostgreSQL killed with worker and api": _postgres_gone_with_the_worker,
    "PostgreSQL tables locked": _postgres_locked,
    "kill -9 worker": FAULTS["kill -9 worker"],
}
"""The faults of a run on PostgreSQL."""
SHORT = ("kill -9 worker", "5 % of calls dropped after acceptance", "kill -9 worker and api")
