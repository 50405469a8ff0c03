"""A cache of reads that may be a few seconds old."""

from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar

from cachetools import TTLCache

K = TypeVar("K")
V = TypeVar("V")

_KEPT: Final = 10_000


class TimedCache(Generic[K, V]):
    """A cache of values by key, each read again after ``seconds``; bounded, the oldest go first."""

    def __init__(self, read: Callable[[K], Awaitable[V]], seconds: float) -> None:
        self._read = read
        self._known: TTLCache[K, V] = TTLCache(_KEPT, seconds)

    async def get(self, key: K) -> V:
        """The value of ``key``.

        Raises:
            Exception: what reading raises; nothing is cached then.
        """
        try:
            return self._known[key]
        except KeyError:
            answer = self._known[key] = await self._read(key)
            return answer
