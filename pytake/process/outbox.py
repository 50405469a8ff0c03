"""Work that a transaction wrote down, begun after its commit.

What is missed there (a crash, Temporal away) the sweep of any worker begins. To begin a thing twice must
do nothing: a sweep may meet what another process is at.
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
        await self._start(items)

    async def sweep(self) -> None:
        """Begin what was missed."""
        left = 0
        while missed := await self._missed(left):
            _log.info(f"beginning {self.items} that were missed", count=len(missed))
            failed, away = await self._start(missed)
            if away and failed == len(missed):
                break
            left += failed

    async def _start(self, items: Sequence[Item]) -> tuple[int, bool]:
        """Begin them, each apart from the others: what cannot be begun keeps nothing else waiting.

        Returns:
            How many are left to the sweep, and whether that is for Temporal or the database is away.
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
        return len(items) - len(begun), any(_away(error) for error in errors)

    def _steps(self, items: Sequence[Item]) -> Iterable[Step[Item]]:
        """What there is to do, each apart from the others."""
        return [Step([item], partial(self._begin, item)) for item in items]

    @abstractmethod
    async def _begin(self, item: Item) -> None:
        """Begin one item, unless that was done before."""

    @abstractmethod
    async def _begun(self, items: Sequence[Item]) -> None:
        """Note that they are begun."""

    @abstractmethod
    async def _missed(self, skip: int) -> Sequence[Item]:
        """Items of some age that nobody noted as begun, oldest first, without the first ``skip``."""


def _away(error: Exception) -> bool:
    """Whether an error is about no single item."""
    if isinstance(error, RPCError):
        return is_unavailable(error)
    if isinstance(error, RuntimeError):
        return never_connected(error)
    return isinstance(error, UNAVAILABLE)
