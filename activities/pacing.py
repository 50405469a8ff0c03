"""The last gate before a call: no more than a number's limit in any one second.

The slots of ``pytake.storage.admission`` space the calls evenly over all workers; when the event
loop stalls, several slots come due at once. This gate spreads them again, inside this worker.
"""

import asyncio
import time
from collections import defaultdict, deque

from pytake.domain.limits import pace_window


class SlidingWindow:
    """At most ``limit`` passes in any window of ``pace_window(limit)`` seconds, for each key."""

    def __init__(self) -> None:
        self._passes: dict[str, deque[float]] = defaultdict(deque)

    async def wait(self, key: str, limit: float) -> None:
        """Return when one more pass of ``key`` is within ``limit`` a second."""
        allowed, window = max(int(limit), 1), pace_window(limit)
        passes = self._passes[key]
        while True:
            now = time.monotonic()
            while passes and passes[0] <= now - window:
                passes.popleft()
            if len(passes) < allowed:
                passes.append(now)
                return
            await asyncio.sleep(passes[-allowed] + window - now)
