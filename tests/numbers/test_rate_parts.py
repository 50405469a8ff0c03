"""Parts of a rate: however processes stall, die or join, their calls never exceed the number's rate."""

import random
from dataclasses import dataclass, field

import pytest

from pytake.numbers.rate_parts import RatePart, Sender, join, whole_calls


@dataclass
class Worker:
    """A process that makes as many calls as its part allows, as early and as late as it allows."""

    name: str
    part: RatePart | None = None
    left: list[float] = field(default_factory=list)
    stopped_until: float = 0.0

    def limit(self) -> int:
        return self.part.calls if self.part else 0

    def call(self, now: float) -> None:
        """Make all the calls that its part allows, at once."""
        part = self.part
        if part is None or now < self.stopped_until or not part.since <= now <= part.until:
            return
        recent = sum(at > now - part.window for at in self.left)
        self.left += [now] * (part.calls - recent)


@pytest.mark.parametrize("rate", [10.0, 3.0, 1.0, 80.0])
@pytest.mark.parametrize("seed", range(6))
def test_no_second_has_more_calls_than_the_rate(rate: float, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - reproducible
    senders: list[Sender] = []
    living, dead = [Worker("0")], []
    now = 1000.0
    while now < 1120:
        now += chance.choice([0.01, 0.05, 0.3])
        if chance.random() < 0.005 and len(living) > 1:  # killed
            dead.append(living.pop(chance.randrange(len(living))))
        if chance.random() < 0.005 and len(living) < 3:
            living.append(Worker(str(len(living) + len(dead))))
        for worker in living:
            if chance.random() < 0.01:
                worker.stopped_until = now + chance.uniform(0.3, 4)
            if now >= worker.stopped_until and chance.random() < 0.5:
                asks = [Sender(**vars_of(sender)) for sender in senders]
                present, mine = join(
                    asks,
                    worker.name,
                    rate,
                    now,
                    enforced=worker.limit(),
                    wanted=chance.choice([1, 5]),
                )
                if mine.calls and mine.next_slot - now < 5 > mine.since - now:
                    mine.take(max(now, mine.next_slot, mine.since), rate)
                senders = present
                if chance.random() < 0.95:  # otherwise the response is lost
                    worker.part = mine.part(rate)
            worker.call(now)
    left = sorted(at for worker in living + dead for at in worker.left)
    assert len(left) > 120 * whole_calls(rate) * 0.5
    most = max(sum(at - 1 < other <= at for other in left) for at in set(left))
    assert most <= whole_calls(rate)


def vars_of(sender: Sender) -> dict[str, object]:
    return {name: getattr(sender, name) for name in Sender.__slots__}
