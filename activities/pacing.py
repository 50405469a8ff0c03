"""The last gate before a call: no more than a number's limit in any one second.

The slots of ``pytake.storage.admission`` space the calls evenly over all workers; when the event
loop stalls, several slots come due at once. This gate spreads them again, inside this worker.
"""

import asyncio
import time
from collections import defaultdict, deque
from typing import Final

_WINDOW_SECONDS: Final = 1.04
"""A second, and the jitter of a network."""


class SlidingWindow:
    """At most ``limit`` passes in any window of 1.04 s, for each key."""

    def __init__(self) -> None:
        self._passes: dict[str, deque[float]] = defaultdict(deque)

    async def wait(self, key: str, limit: float) -> None:
        """Return when one more pass of ``key`` is within ``limit`` a second."""
        allowed = max(int(limit), 1)
        passes = self._passes[key]
        while True:
            now = time.monotonic()
            while passes and passes[0] <= now - _WINDOW_SECONDS:
                passes.popleft()
            if len(passes) < allowed:
                passes.append(now)
                return
            await asyncio.sleep(passes[-allowed] + _WINDOW_SECONDS - now)
