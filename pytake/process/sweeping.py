"""Looking again and again for what a crash left undone."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final

from pytake.database.engine import UNAVAILABLE

_SECONDS: Final = 5.0


@asynccontextmanager
async def sweeping(sweep: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """Sweep every few seconds while the context is open; a database that is away is asked again."""
    task = asyncio.create_task(_sweep(sweep))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _sweep(sweep: Callable[[], Awaitable[None]]) -> None:
    while True:
        await asyncio.sleep(_SECONDS)
        with suppress(*UNAVAILABLE):
            await sweep()
