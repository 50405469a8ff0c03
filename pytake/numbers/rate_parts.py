"""How processes that send from one number at the same time divide its rate among them. Pure.

No process can know how late another one is: one that was stopped for a second lets all the calls go at
once that were due meanwhile. What a process can keep exactly is a limit of its own, by counting what it
has written itself (``pytake.messages.pacing``). So each one that sends from a number has a part of its rate,
in whole calls a second, and the parts add up to no more than the rate. Alone it has all of it.

A part grows only when what the others may still let go has shrunk for certain: they have said that they
keep to less, or have been silent so long that nothing more can leave. Whole seconds of the past count
in this, for Meta counts any second. Times are unix seconds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pytake.whatsapp.limits import left_window, pace_window

GRACE: Final = 1.0
"""Seconds after its last slot during which a process may still let calls go; then it asks again."""
MEMORY: Final = 1.25
"""Seconds for which a call that left still counts: the second that Meta counts, and what the clocks of
two hosts may differ by."""
FORGOTTEN: Final = 60.0
"""Seconds of silence after which a process has no part any more, even if nobody needs it."""


@dataclass(frozen=True, slots=True)
class RatePart:
    """What a process is told of its part of a number's rate."""

    calls: int
    """May leave in any ``window``."""
    window: float
    """Seconds."""
    since: float
    until: float


@dataclass(slots=True)
class Sender:
    """A process, as the row of the number remembers it."""

    process: str
    calls: int = 0
    """Its part: the most calls it may let go in any second, as it was told last."""
    since: float = 0.0
    """Nothing of its goes before."""
    until: float = 0.0
    """Nothing of its goes after this, unless it asks again."""
    settled: float = 0.0
    """From then on it is certain to keep to ``calls``, where it had more before."""
    next_slot: float = 0.0

    def silent(self, now: float) -> bool:
        """Whether nothing that it let go, or may let go, counts any more."""
        return self.until + MEMORY < now

    def not_after(self, latest: float) -> None:
        """Have no time of it be after ``latest``: a clock that was ahead wrote it."""
        self.since, self.until = min(self.since, latest), min(self.until, latest)
        self.settled, self.next_slot = min(self.settled, latest), min(self.next_slot, latest)

    def take(self, slot: float, rate: float) -> None:
        """Have ``slot``, at one of the ``calls`` that it has of ``rate``."""
        self.next_slot = slot + spacing(rate, self.calls)
        self.until = max(self.until, slot + GRACE)

    def told(self, rate: float) -> RatePart:
        """What it is told of its part."""
        return RatePart(self.calls, left_window(rate), self.since, self.until)


def whole_calls(rate: float) -> int:
    """Calls that may leave in any second: a throttled number's rate may be under 1."""
    return max(int(rate), 1)


def spacing(rate: float, calls: int) -> float:
    """Seconds between the slots of a process that has ``calls`` of the number's ``rate``."""
    return pace_window(rate) / (rate * calls / whole_calls(rate))


def join(
    senders: Sequence[Sender], process: str, rate: float, now: float, *, keeps: int, wanted: int
) -> tuple[list[Sender], Sender]:
    """Give ``process`` the part that it may have now.

    Args:
        senders: who has a part so far; changed in place.
        process: who asks.
        rate: the number's messages a second.
        now: unix seconds.
        keeps: the most calls in any second that the process lets go at ``now``.
        wanted: calls that it wants to make. If they cannot all go at once, it gets what lies idle.

    Returns:
        Who has a part now, in order of arrival, and the process among them. A rate that has fewer whole
        calls than there are processes leaves the last without: ``calls`` is 0.
    """
    mine = next((sender for sender in senders if sender.process == process), Sender(process))
    busy = wanted > 1 or mine.next_slot > now or len(senders) >= whole_calls(rate)
    present = [
        sender
        for sender in senders
        if sender is mine or not sender.silent(now) or (not busy and sender.until + FORGOTTEN > now)
    ]
    if mine not in present:
        present.append(mine)
    whole, count = whole_calls(rate), len(present)
    parts = [whole // count + (index < whole % count) for index in range(count)]
    ready, part = 0.0, 0
    for sender, share in zip(present, parts, strict=True):
        if sender is mine:
            part = share
        elif sender.calls > share:  # not told yet
            ready = max(ready, sender.until + MEMORY)
        else:
            ready = max(ready, sender.settled)
    if keeps <= mine.calls:
        mine.settled = min(mine.settled, now + MEMORY)
    if mine.calls == 0:
        mine.calls, mine.since = part, ready
    elif part < mine.calls:
        mine.settled = max(mine.settled, mine.until + MEMORY)
        _rescale(mine, part, now)
    else:
        if ready <= now:
            _rescale(mine, part, now)
        if (earlier := mine.since - max(ready, now)) > 0:
            mine.since -= earlier
            mine.next_slot -= earlier
    mine.until = max(mine.until, now + GRACE)
    return present, mine


def _rescale(mine: Sender, calls: int, now: float) -> None:
    """The slots that it has and has not used take longer with a smaller part, and less with a larger."""
    if calls and mine.next_slot > now:
        mine.next_slot = now + (mine.next_slot - now) * mine.calls / calls
    mine.calls = calls
