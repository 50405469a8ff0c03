"""The last steps before a call: its number's slots in order of urgency, and the limit of any one second.

The slots of ``pytake.messages.gate`` space the calls evenly. A slot is a number's, not a message's:
of the messages that wait in this worker the most urgent takes the next one. When the event loop stalls,
several slots come due at once; they are spread again, inside this worker, by what has really left. Of
other workers nothing has to be known for that: each has a part of the rate of its own.
"""

import asyncio
import heapq
import itertools
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

from pytake.numbers.rate_parts import RatePart

_LOOK_AGAIN: Final = 0.05
"""Seconds until it is looked again where nothing tells when there will be room."""


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


Renew = Callable[[], Awaitable[bool]]
"""Asks for a new part of the rate and has it told; false if there is none."""


class Passage:
    """One call within the window of its key: it counts from when it is let through, and then from when
    its request is written, for that is what Meta counts.
    """

    def __init__(self, window: "SlidingWindow", key: str, renew: Renew) -> None:
        self._window, self._key, self._renew = window, key, renew
        self.left_at: float | None = None

    async def leaves(self) -> bool:
        """Return when the request may be written this instant; false if it may not be at all. On the
        way here (a new connection takes its time) the part may have become smaller, or have lapsed.
        """
        if not await self._window.room(self._key, self._renew, leaving=True):
            return False
        self.left()
        return True

    def left(self) -> None:
        """The request is written."""
        self.left_at = time.monotonic()

    def close(self, *, sent: bool) -> None:
        """The call is over; one that was never ``sent`` counts no more."""
        if self.left_at is None:
            if sent:
                self.left()
            else:
                self._window.forget(self._key, self)


class SlidingWindow:
    """No more calls of a key leave in any window than its part of the rate allows.

    An event loop that stalls between the permission and the write lets several calls go at once: they are
    counted as they leave, and what has not left yet holds its place.
    """

    def __init__(self) -> None:
        self._calls: dict[str, list[Passage]] = defaultdict(list)
        self._parts: dict[str, RatePart] = {}

    def tell(self, key: str, part: RatePart, shift: float) -> None:
        """From now on ``part`` goes; its times become the monotonic clock's by adding ``shift``."""
        self._parts[key] = replace(part, since=part.since + shift, until=part.until + shift)

    def keeps(self, key: str) -> int:
        """The most calls that leave in any window as things stand."""
        part = self._parts.get(key)
        return part.calls if part else 0

    async def enter(self, key: str, renew: Renew) -> Passage | None:
        """Return when one more call of ``key`` is within the part; ``None`` if there is none."""
        if not await self.room(key, renew, leaving=False):
            return None
        passage = Passage(self, key, renew)
        self._calls[key].append(passage)
        return passage

    def forget(self, key: str, passage: Passage) -> None:
        """The call does not count."""
        self._calls[key].remove(passage)

    async def room(self, key: str, renew: Renew, *, leaving: bool) -> bool:
        """Return when there is room for one more: beside all that were let through, or for one of
        them, beside those that left; false if there is no part, and none to be had.
        """
        while True:
            part, now = self._parts.get(key), time.monotonic()
            if part is None or now > part.until:
                if not await renew():
                    return False
                continue
            if part.calls < 1:
                return False
            if now < part.since:
                await asyncio.sleep(min(part.since - now, _LOOK_AGAIN))
                continue
            calls = self._calls[key]
            calls[:] = [c for c in calls if c.left_at is None or c.left_at > now - part.window]
            left = sorted(c.left_at for c in calls if c.left_at is not None)
            surplus = len(left if leaving else calls) - part.calls
            if surplus < 0:
                return True
            wait = left[surplus] + part.window - now if len(left) > surplus else _LOOK_AGAIN
            await asyncio.sleep(max(wait, 0.001))
