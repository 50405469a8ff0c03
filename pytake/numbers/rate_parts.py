"""How processes that send from one number at the same time divide its rate. Pure.

No process can know how late another one runs: one that was stopped for a second then makes all the
calls at once that were due meanwhile. What a process can enforce exactly is a limit of its own, by
counting the calls that it has written (``pytake.messages.pacing``). So each process that sends from a
number has a part of the rate, in whole calls per second, and the parts add up to at most the rate. A
single process has all of it.

A part grows only once the other parts have certainly shrunk: their processes have confirmed a lower
limit, or have been silent for so long that they can send nothing more. The last second counts as well,
because Meta counts every window of one second. Times are Unix seconds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pytake.whatsapp.limits import pace_window, process_window

GRACE: Final = 1.0
"""Seconds after its last slot during which a process may still send; after that it asks again."""
MEMORY: Final = 1.25
"""Seconds for which a call still counts: Meta's window of one second, plus the clock skew between
hosts."""
FORGOTTEN: Final = 60.0
"""Seconds of silence after which a process loses its part, even if nobody else needs it."""


@dataclass(frozen=True, slots=True)
class RatePart:
    """A process's part of a number's rate."""

    calls: int
    """Most calls in any ``window``."""
    window: float
    """Seconds."""
    since: float
    until: float


@dataclass(slots=True)
class Sender:
    """A sending process, as the number's row stores it."""

    process: str
    calls: int = 0
    """Its part: the most calls that it may make in any second, as last granted."""
    since: float = 0.0
    """It sends nothing before this."""
    until: float = 0.0
    """It sends nothing after this, unless it asks again."""
    settled: float = 0.0
    """From this time it certainly keeps to ``calls``, if its part was larger before."""
    next_slot: float = 0.0

    def is_silent(self, now: float) -> bool:
        """Whether none of its calls, past or still allowed, counts any more."""
        return self.until + MEMORY < now

    def clamp(self, latest: float) -> None:
        """Cap all times at ``latest``: a clock that was ahead wrote later ones."""
        self.since, self.until = min(self.since, latest), min(self.until, latest)
        self.settled, self.next_slot = min(self.settled, latest), min(self.next_slot, latest)

    def take(self, slot: float, rate: float) -> None:
        """Use ``slot``, and move its next slot on by the spacing of its part of ``rate``."""
        self.next_slot = slot + spacing(rate, self.calls)
        self.until = max(self.until, slot + GRACE)

    def part(self, rate: float) -> RatePart:
        """Its part of ``rate``, for the process to keep to."""
        return RatePart(self.calls, process_window(rate), self.since, self.until)


def whole_calls(rate: float) -> int:
    """Most calls in any second, at least 1: a throttled number's rate may be below that."""
    return max(int(rate), 1)


def spacing(rate: float, calls: int) -> float:
    """Seconds between the slots of a process that has ``calls`` of the number's ``rate``."""
    return pace_window(rate) / (rate * calls / whole_calls(rate))


def join(
    senders: Sequence[Sender], process: str, rate: float, now: float, *, enforced: int, wanted: int
) -> tuple[list[Sender], Sender]:
    """Give ``process`` the part that it may have now.

    Args:
        senders: the processes that have a part so far; changed in place.
        process: id of the process that asks.
        rate: the number's messages per second.
        now: Unix seconds.
        enforced: the limit, in calls per second, that the process enforces at ``now``.
        wanted: calls that it wants to make; if more than one, it also gets idle processes' parts.

    Returns:
        The processes that have a part now, in order of arrival, and the asking one among them. If there
        are more processes than whole calls in the rate, the last ones get none: ``calls`` is 0.
    """
    mine = next((sender for sender in senders if sender.process == process), Sender(process))
    busy = wanted > 1 or mine.next_slot > now or len(senders) >= whole_calls(rate)
    present = [
        sender
        for sender in senders
        if sender is mine
        or not sender.is_silent(now)
        or (not busy and sender.until + FORGOTTEN > now)
    ]
    if mine not in present:
        present.append(mine)
    whole, count = whole_calls(rate), len(present)
    parts = [whole // count + (index < whole % count) for index in range(count)]
    ready, part = 0.0, 0
    for sender, share in zip(present, parts, strict=True):
        if sender is mine:
            part = share
        elif sender.calls > share:  # it does not know yet
            ready = max(ready, sender.until + MEMORY)
        else:
            ready = max(ready, sender.settled)
    if enforced <= mine.calls:
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
    """Set the part; slots taken but not yet used spread out if it shrinks, and move up if it grows."""
    if calls and mine.next_slot > now:
        mine.next_slot = now + (mine.next_slot - now) * mine.calls / calls
    mine.calls = calls
