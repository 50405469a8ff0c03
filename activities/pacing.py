"""The last steps before a call: its number's slots in order of urgency, and the limit of any one second.

The slots of ``pytake.storage.admission`` space the calls evenly over all workers. A slot is a number's,
not a message's: of the messages that wait in this worker the most urgent takes the next one. When the
event loop stalls, several slots come due at once; they are spread again, inside this worker.
"""

import asyncio
import heapq
import itertools
import time
from collections import defaultdict, deque

from pytake.domain.limits import pace_window


class Slots:
    """Who waits for a slot, by key."""

    def __init__(self) -> None:
        self._waiting: defaultdict[str, list[tuple[int, int, asyncio.Future[None]]]]
        self._waiting = defaultdict(list)
        self._order = itertools.count()

    async def turn(self, key: str, delay: float, urgency: int) -> None:
        """Bring a slot of ``key`` that is due in ``delay`` seconds, and wait for one: the lowest
        ``urgency`` takes the first, then who came first.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        heapq.heappush(self._waiting[key], (urgency, next(self._order), future))
        if delay > 0:
            loop.call_later(delay, self._due, key)
        else:
            self._due(key)
        await future

    def _due(self, key: str) -> None:
        waiting = self._waiting.get(key, [])
        while waiting:
            *_, future = heapq.heappop(waiting)
            if not future.done():  # not cancelled meanwhile
                future.set_result(None)
                break
        if not waiting:
            self._waiting.pop(key, None)


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
