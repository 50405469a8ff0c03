"""Periodic sweeps for work that a crash left undone."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final

import structlog

_log = structlog.get_logger()

_SECONDS: Final = 5.0


@asynccontextmanager
async def sweeping(sweep: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """Sweep every few seconds while the context is open; sweeping goes on after a failure."""
    closed = asyncio.Event()
    task = asyncio.create_task(_sweep(sweep, closed))
    try:
        yield
    finally:
        closed.set()  # ends the sweeps even if one of them takes the cancellation for a failure
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _sweep(sweep: Callable[[], Awaitable[None]], closed: asyncio.Event) -> None:
    while not closed.is_set():
        await asyncio.sleep(_SECONDS)
        try:
            await sweep()
        except Exception as error:
            _log.warning("a sweep failed", error=type(error).__name__)
