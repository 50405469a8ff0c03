"""How many requests a second one API key may make of one API process."""

import time
from typing import Final

_KEPT: Final = 10_000


class RequestRate:
    """A token bucket for each key; a second's worth of requests may come at once, twice over."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._burst = 2 * rate
        self._buckets: dict[str, tuple[float, float]] = {}

    def take(self, key: str) -> float:
        """Count a request; seconds to wait if it is one too many, else 0."""
        if self._rate <= 0:
            return 0.0
        at = time.monotonic()
        tokens, since = self._buckets.get(key, (self._burst, at))
        tokens = min(self._burst, tokens + (at - since) * self._rate)
        if len(self._buckets) > _KEPT:
            self._buckets.clear()
        if tokens < 1:
            self._buckets[key] = (tokens, at)
            return (1 - tokens) / self._rate
        self._buckets[key] = (tokens - 1, at)
        return 0.0
