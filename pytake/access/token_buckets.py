"""Token buckets, one for each key, in this process."""

import time
from typing import Final

_KEPT: Final = 10_000


class TokenBuckets:
    """Counts what keys take against a rate a second and a burst; of very many, the latest."""

    def __init__(self) -> None:
        self._buckets: dict[str, tuple[float, float]] = {}

    def take(self, key: str, rate: float, burst: float) -> float:
        """Take one token of ``key``: 0 if there was one, else the seconds until there will be."""
        tokens, at = self._fill(key, rate, burst)
        if tokens < 1:
            self._keep(key, tokens, at)
            return (1 - tokens) / rate
        self._keep(key, tokens - 1, at)
        return 0.0

    def owe(self, key: str, count: float, rate: float, burst: float) -> None:
        """Take ``count`` tokens whether or not they are there: what is missing is waited for later."""
        tokens, at = self._fill(key, rate, burst)
        self._keep(key, tokens - count, at)

    def _fill(self, key: str, rate: float, burst: float) -> tuple[float, float]:
        at = time.monotonic()
        tokens, since = self._buckets.pop(key, (burst, at))
        return min(burst, tokens + (at - since) * rate), at

    def _keep(self, key: str, tokens: float, at: float) -> None:
        if len(self._buckets) >= _KEPT:
            del self._buckets[next(iter(self._buckets))]
        self._buckets[key] = (tokens, at)
