"""The last steps before a call: slots by urgency, and a sliding limit on calls per second.

The slots of ``pytake.messages.gate`` space the calls evenly. A slot belongs to a number, not a message:
the most urgent message waiting in this worker takes the next one. When the event loop stalls, several
slots come due at once; a sliding window over the calls actually made spreads them again. Workers need
not coordinate for that, as each has its own part of the rate.
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
"""Seconds between polls when it is unknown when there will be room."""


class Slots:
    """Queues of those waiting for a slot, by key."""

    def __init__(self) -> None:
        self._waiting: defaultdict[str, list[tuple[int, int, asyncio.Future[None]]]]
        self._waiting = defaultdict(list)
        self._order = itertools.count()

    async def turn(self, key: str, delay: float, urgency: int) -> None:
        """Contribute a slot of ``key`` that is due in ``delay`` seconds, and wait for one. Slots go to
        the lowest ``urgency`` first, then in order of arrival.
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
"""Requests a new part of the rate and stores it with ``set_part``; false if there is none."""


class Passage:
    """One call within the window of its key. It holds a place from when it is admitted; once its request
    is written it counts from then, which is what Meta counts.
    """

    def __init__(self, window: "SlidingWindow", key: str, renew: Renew) -> None:
        self._window, self._key, self._renew = window, key, renew
        self.written_at: float | None = None

    async def may_write(self) -> bool:
        """Wait until the request may be written right now; false if it may not be written at all. The
        part may have shrunk or lapsed since the call was admitted, e.g. while connecting.
        """
        if not await self._window.room(self._key, self._renew, leaving=True):
            return False
        self.mark_written()
        return True

    def mark_written(self) -> None:
        """Note that the request is being written now."""
        self.written_at = time.monotonic()

    def close(self, *, sent: bool) -> None:
        """End the call; if it was never ``sent``, it no longer counts."""
        if self.written_at is None:
            if sent:
                self.mark_written()
            else:
                self._window.forget(self._key, self)


class SlidingWindow:
    """Limits the calls of a key in any window to its part of the rate.

    If the event loop stalls between admission and write, several calls may go at once: so they are counted
    when they are written, and those not written yet hold a place.
    """

    def __init__(self) -> None:
        self._calls: dict[str, list[Passage]] = defaultdict(list)
        self._parts: dict[str, RatePart] = {}

    def set_part(self, key: str, part: RatePart, shift: float) -> None:
        """Set the part of the rate; adding ``shift`` turns its times into monotonic ones."""
        self._parts[key] = replace(part, since=part.since + shift, until=part.until + shift)

    def keeps(self, key: str) -> int:
        """The most calls currently allowed in any window; 0 without a part."""
        part = self._parts.get(key)
        return part.calls if part else 0

    async def enter(self, key: str, renew: Renew) -> Passage | None:
        """Wait until one more call of ``key`` is within its part; ``None`` if it has no part."""
        if not await self.room(key, renew, leaving=False):
            return None
        passage = Passage(self, key, renew)
        self._calls[key].append(passage)
        return passage

    def forget(self, key: str, passage: Passage) -> None:
        """Stop counting a call."""
        self._calls[key].remove(passage)

    async def room(self, key: str, renew: Renew, *, leaving: bool) -> bool:
        """Wait until there is room for one more call next to all admitted ones or, if ``leaving``, for an
        admitted one next to those already written. False if no part can be had.
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
            calls[:] = [
                c for c in calls if c.written_at is None or c.written_at > now - part.window
            ]
            left = sorted(c.written_at for c in calls if c.written_at is not None)
            surplus = len(left if leaving else calls) - part.calls
            if surplus < 0:
                return True
            wait = left[surplus] + part.window - now if len(left) > surplus else _LOOK_AGAIN
            await asyncio.sleep(max(wait, 0.001))
