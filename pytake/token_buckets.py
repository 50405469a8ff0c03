"""Token buckets, one for each key, in this process."""

import time
from typing import Final

_KEPT: Final = 10_000


class TokenBuckets:
    """Counts what keys take against a rate a second and a burst."""

    def __init__(self) -> None:
        self._buckets: dict[str, tuple[float, float]] = {}

    def take(self, key: str, rate: float, burst: float) -> float:
        """Take one token of ``key``: 0 if there was one, else the seconds until there will be."""
        at = time.monotonic()
        tokens, since = self._buckets.get(key, (burst, at))
        tokens = min(burst, tokens + (at - since) * rate)
        if len(self._buckets) > _KEPT:
            self._buckets.clear()
        if tokens < 1:
            self._buckets[key] = (tokens, at)
            return (1 - tokens) / rate
        self._buckets[key] = (tokens - 1, at)
        return 0.0
