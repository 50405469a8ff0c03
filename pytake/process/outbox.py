"""Work that a transaction wrote down, begun after its commit.

What is missed there (a crash, Temporal away) the sweep of any worker begins. To begin a thing twice must
do nothing: a sweep may meet what another process is at.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import ClassVar, Final, Generic, TypeVar

import structlog

from pytake.database.engine import UNAVAILABLE
from pytake.temporal.client import UNREACHABLE

_log = structlog.get_logger()

_AT_ONCE: Final = 20

Item = TypeVar("Item")


class Outbox(ABC, Generic[Item]):
    """Begins items, twenty at once, and notes that they are begun."""

    items: ClassVar[str]
    """What they are, in the log."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def soon(self, items: Sequence[Item]) -> None:
        """Begin them in the background."""
        if items:
            task = asyncio.create_task(self.start(items))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def start(self, items: Sequence[Item]) -> None:
        """Begin them and note it; a failure is left to the sweep."""
        slots = asyncio.Semaphore(_AT_ONCE)

        async def one(begin: Callable[[], Awaitable[None]]) -> None:
            async with slots:
                await begin()

        try:
            await asyncio.gather(*(one(begin) for begin in self._steps(items)))
            await self._begun(items)
        except (*UNREACHABLE, *UNAVAILABLE) as error:
            _log.warning(
                f"{self.items} left to the sweep", count=len(items), error=type(error).__name__
            )

    async def sweep(self) -> None:
        """Begin what was missed."""
        missed = await self._missed()
        if missed:
            _log.info(f"beginning {self.items} that were missed", count=len(missed))
            await self.start(missed)

    def _steps(self, items: Sequence[Item]) -> Iterable[Callable[[], Awaitable[None]]]:
        """What there is to do, each apart from the others."""
        return [partial(self._begin, item) for item in items]

    @abstractmethod
    async def _begin(self, item: Item) -> None:
        """Begin one item, unless that was done before."""

    @abstractmethod
    async def _begun(self, items: Sequence[Item]) -> None:
        """Note that they are begun."""

    @abstractmethod
    async def _missed(self) -> Sequence[Item]:
        """Items of some age that nobody noted as begun."""
