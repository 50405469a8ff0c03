"""The outbox pattern: work recorded in a transaction and begun after its commit.

What is missed then (a crash, Temporal down) is begun by any worker's sweep. Beginning an item must be
idempotent, because a sweep may pick up what another process is working on.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Final, Generic, TypeVar

import structlog
from temporalio.service import RPCError

from pytake.database.engine import UNAVAILABLE
from pytake.temporal.client import is_unavailable, never_connected

_log = structlog.get_logger()

_AT_ONCE: Final = 20

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Step(Generic[Item]):
    """Items that are begun together."""

    items: Sequence[Item]
    begin: Callable[[], Awaitable[None]]


class Outbox(ABC, Generic[Item]):
    """Begins items, up to twenty concurrently, and records that they have begun."""

    items: ClassVar[str]
    """The items' name in the log."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def soon(self, items: Sequence[Item]) -> None:
        """Begin items in the background."""
        if items:
            task = asyncio.create_task(self.start(items))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def start(self, items: Sequence[Item]) -> None:
        """Begin items and record it; failures are left to the sweep."""
        await self._start(items)

    async def sweep(self) -> None:
        """Begin items that were missed."""
        skip = 0
        while missed := await self._missed(skip):
            _log.info(f"beginning {self.items} that were missed", count=len(missed))
            failed, outage = await self._start(missed)
            if outage and failed == len(missed):
                break
            skip += failed

    async def _start(self, items: Sequence[Item]) -> tuple[int, bool]:
        """Begin items independently: one that fails does not hold up the others.

        Returns:
            How many are left to the sweep, and whether because Temporal or the database is down.
        """
        slots = asyncio.Semaphore(_AT_ONCE)
        begun: list[Item] = []
        errors: list[Exception] = []

        async def one(step: Step[Item]) -> None:
            try:
                async with slots:
                    await step.begin()
            except Exception as error:
                errors.append(error)
            else:
                begun.extend(step.items)

        await asyncio.gather(*(one(step) for step in self._steps(items)))
        try:
            if begun:
                await self._begun(begun)
        except UNAVAILABLE as error:
            errors.append(error)
            begun.clear()
        if errors:
            _log.warning(
                f"{self.items} left to the sweep",
                count=len(items) - len(begun),
                errors=sorted({type(error).__name__ for error in errors}),
            )
        return len(items) - len(begun), any(_is_outage(error) for error in errors)

    def _steps(self, items: Sequence[Item]) -> Iterable[Step[Item]]:
        """Group items into independent steps."""
        return [Step([item], partial(self._begin, item)) for item in items]

    @abstractmethod
    async def _begin(self, item: Item) -> None:
        """Begin one item; does nothing if it has begun before."""

    @abstractmethod
    async def _begun(self, items: Sequence[Item]) -> None:
        """Record that items have begun."""

    @abstractmethod
    async def _missed(self, skip: int) -> Sequence[Item]:
        """Items of some age not recorded as begun, oldest first, without the first ``skip``."""


def _is_outage(error: Exception) -> bool:
    """Whether an error means that Temporal or the database is down, rather than a bad item."""
    if isinstance(error, RPCError):
        return is_unavailable(error)
    if isinstance(error, RuntimeError):
        return never_connected(error)
    return isinstance(error, UNAVAILABLE)
