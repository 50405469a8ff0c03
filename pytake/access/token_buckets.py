"""In-process token buckets, one per key."""

import time
from typing import Final

_MAX_BUCKETS: Final = 10_000


class TokenBuckets:
    """Limits each key to a rate per second and a burst; keeps only the most recently used keys."""

    def __init__(self) -> None:
        self._buckets: dict[str, tuple[float, float]] = {}

    def take(self, key: str, rate: float, burst: float) -> float:
        """Take one token of ``key``; return 0, or the seconds until one is available."""
        tokens, at = self._refill(key, rate, burst)
        if tokens < 1:
            self._store(key, tokens, at)
            return (1 - tokens) / rate
        self._store(key, tokens - 1, at)
        return 0.0

    def charge(self, key: str, count: float, rate: float, burst: float) -> None:
        """Take ``count`` tokens even if they are not available; later calls wait for the debt."""
        tokens, at = self._refill(key, rate, burst)
        self._store(key, tokens - count, at)

    def _refill(self, key: str, rate: float, burst: float) -> tuple[float, float]:
        at = time.monotonic()
        tokens, since = self._buckets.pop(key, (burst, at))
        return min(burst, tokens + (at - since) * rate), at

    def _store(self, key: str, tokens: float, at: float) -> None:
        if len(self._buckets) >= _MAX_BUCKETS:
            del self._buckets[next(iter(self._buckets))]
        self._buckets[key] = (tokens, at)
