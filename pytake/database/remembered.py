"""What the database said some seconds ago, where that is good enough."""

from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar

from cachetools import TTLCache

K = TypeVar("K")
V = TypeVar("V")

_KEPT: Final = 10_000


class Remembered(Generic[K, V]):
    """Answers by key, each read anew when it is older than ``seconds``; of very many, the latest."""

    def __init__(self, read: Callable[[K], Awaitable[V]], seconds: float) -> None:
        self._read = read
        self._known: TTLCache[K, V] = TTLCache(_KEPT, seconds)

    async def get(self, key: K) -> V:
        """The answer for ``key``.

        Raises:
            Exception: what reading raises; nothing is remembered then.
        """
        try:
            return self._known[key]
        except KeyError:
            answer = self._known[key] = await self._read(key)
            return answer
