"""Group commit: calls that arrive while a transaction runs share the next one."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Batcher(Generic[Item, Result]):
    """Runs ``commit(items)`` for the items queued so far, one batch at a time.

    A single call does not wait: it is committed at once. Under load the batches grow, which spreads
    the cost of a transaction.
    """

    def __init__(
        self, commit: Callable[[list[Item]], Awaitable[list[Result]]], maximum: int = 200
    ) -> None:
        self._commit = commit
        self._maximum = maximum
        self._queue: list[tuple[Item, asyncio.Future[Result]]] = []
        self._running: asyncio.Task[None] | None = None

    async def submit(self, item: Item) -> Result:
        """The result of ``item``; raises what its batch raised."""
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._queue.append((item, future))
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._drain())
        return await future

    async def _drain(self) -> None:
        while self._queue:
            batch, self._queue = self._queue[: self._maximum], self._queue[self._maximum :]
            try:
                results = await self._commit([item for item, _ in batch])
            except Exception as error:
                # Every caller gets the error of its batch; none is left waiting.
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
                continue
            for (_, future), result in zip(batch, results, strict=True):
                if not future.done():
                    future.set_result(result)
