"""The heartbeat of a process: that it is alive, since when, and what it is sending."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import structlog

from pytake.clock import now
from pytake.database.engine import UNAVAILABLE, Database
from pytake.process import heartbeats

_log = structlog.get_logger()


@asynccontextmanager
async def beating(
    database: Database, process_id: str, kind: str, sending: Callable[[], dict[str, dict[str, int]]]
) -> AsyncIterator[None]:
    """Write the process's heartbeat while the context is open.

    A process that could not write for a while counts as restarted: nothing that it served meanwhile
    can have been made durable, so to others it was down.
    """
    task = asyncio.create_task(_beat(database, process_id, kind, sending))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _beat(
    database: Database, process_id: str, kind: str, sending: Callable[[], dict[str, dict[str, int]]]
) -> None:
    started_at = last = now()
    generation = 0
    while True:
        try:
            if now() - last > heartbeats.ALIVE:
                started_at, generation = now(), generation + 1
            identity = f"{process_id}-{generation}"
            await database.write(heartbeats.beat, identity, kind, started_at, now(), sending())
            last = now()
        except UNAVAILABLE as error:
            _log.warning("heartbeat not written", kind=kind, error=type(error).__name__)
        await asyncio.sleep(heartbeats.EVERY.total_seconds())
