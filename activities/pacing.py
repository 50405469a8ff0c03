"""The last steps before a call: its number's slots in order of urgency, and the limit of any one second.

The slots of ``pytake.storage.admission`` space the calls evenly over all workers. A slot is a number's,
not a message's: of the messages that wait in this worker the most urgent takes the next one. When the
event loop stalls, several slots come due at once; they are spread again, inside this worker, by what has
really left.
"""

import asyncio
import heapq
import itertools
import time
from collections import defaultdict
from typing import Final

from pytake.domain.limits import left_window

_LOOK_AGAIN: Final = 0.05
"""Seconds until it is looked again where every call of the window is still on its way out."""


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


class Passage:
    """One call within the window of its key: it counts from when it is let through, and then from when
    its request is written, for that is what Meta counts.
    """

    def __init__(self, calls: "list[Passage]") -> None:
        self._calls = calls
        self.left_at: float | None = None
        calls.append(self)

    def left(self) -> None:
        """The request is written."""
        if self.left_at is None:
            self.left_at = time.monotonic()

    def close(self, *, sent: bool) -> None:
        """The call is over; one that was never ``sent`` counts no more."""
        if sent:
            self.left()
        elif self.left_at is None:
            self._calls.remove(self)


class SlidingWindow:
    """At most ``limit`` calls leave in any window of ``left_window(limit)`` seconds, for each key.

    An event loop that stalls between the permission and the write lets several calls go at once: they are
    counted as they leave, and what has not left yet holds its place.
    """

    def __init__(self) -> None:
        self._calls: dict[str, list[Passage]] = defaultdict(list)

    async def enter(self, key: str, limit: float) -> Passage:
        """Return when one more call of ``key`` is within ``limit`` a second."""
        allowed, window = max(int(limit), 1), left_window(limit)
        calls = self._calls[key]
        while True:
            now = time.monotonic()
            calls[:] = [c for c in calls if c.left_at is None or c.left_at > now - window]
            if len(calls) < allowed:
                return Passage(calls)
            left = sorted(c.left_at for c in calls if c.left_at is not None)
            surplus = len(calls) - allowed
            wait = left[surplus] + window - now if len(left) > surplus else _LOOK_AGAIN
            await asyncio.sleep(max(wait, 0.001))
