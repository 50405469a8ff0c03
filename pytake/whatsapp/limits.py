"""Meta's limits as numbers and pure functions.

Source of all of them: Meta's "Messaging limits" and "Throughput" pages (read September 2026).
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

CUSTOMER_SERVICE_WINDOW: Final = timedelta(hours=24)
"""How long after a user's last message free-form messages to them are allowed."""

TIER_WINDOW: Final = timedelta(hours=24)
"""The rolling window in which unique recipients are counted."""

PAIR_INTERVAL: Final = timedelta(seconds=6)
"""Sustained: one message per six seconds to the same user."""

PAIR_BURST: Final = 45
"""Messages to the same user that a burst may borrow from later."""

MAX_OPAQUE_LENGTH: Final = 512
"""Characters of ``biz_opaque_callback_data``."""


@dataclass(frozen=True, slots=True)
class Tier:
    """A messaging limit: unique recipients a rolling 24 hours; ``None`` is unlimited."""

    name: str
    daily_limit: int | None


_TIERS: Final = {
    tier.name: tier
    for tier in (
        Tier("TIER_0", 250),
        Tier("TIER_1", 1_000),
        Tier("TIER_2", 10_000),
        Tier("TIER_3", 100_000),
        Tier("TIER_50", 50),
        Tier("TIER_250", 250),
        Tier("TIER_1K", 1_000),
        Tier("TIER_2K", 2_000),
        Tier("TIER_10K", 10_000),
        Tier("TIER_100K", 100_000),
        Tier("TIER_UNLIMITED", None),
    )
}

TIER_NAMES: Final = tuple(_TIERS)


_OWN_NAMES: Final = ("TIER_0", "TIER_1", "TIER_2", "TIER_3")
_LADDER: Final = ("TIER_250", "TIER_2K", "TIER_10K", "TIER_100K", "TIER_UNLIMITED")


def meta_name(tier: Tier) -> str:
    """Meta's name of a limit: what its answers carry."""
    names = (name for name, known in _TIERS.items() if known.daily_limit == tier.daily_limit)
    return next((name for name in names if name not in _OWN_NAMES), tier.name)


def next_tier(tier: Tier) -> Tier | None:
    """Meta's next higher limit; ``None`` above unlimited."""
    if tier.daily_limit is None:
        return None
    higher = (_TIERS[name] for name in _LADDER)
    return next(t for t in higher if t.daily_limit is None or t.daily_limit > tier.daily_limit)


def parse_tier(name: str) -> Tier:
    """The tier of PyTake's or Meta's name, in any case.

    Raises:
        ValueError: the name is not one of ``TIER_NAMES``.
    """
    tier = _TIERS.get(name.strip().upper())
    if tier is None:
        raise ValueError(f"unknown tier {name!r}: use one of {', '.join(TIER_NAMES)}")
    return tier


def pace_window(rate: float) -> float:
    """Seconds in which at most ``rate`` calls go out: a second, and room for jitter on the way.

    81 calls paced for 80 a second span 1.04 s, so that 40 ms of jitter do not make Meta count more
    than 80 in any one second. A slow number can afford more room: 100 ms at 5 a second.
    """
    return 1 + max(0.04, min(0.1, 0.5 / rate))


def left_window(rate: float) -> float:
    """Seconds in which at most ``rate`` calls of one process leave: the slots' window less half of its
    room, so that a call which was late does not make every later one late.
    """
    return 1 + (pace_window(rate) - 1) / 2


def paced_rate(rate: float) -> float:
    """Calls a second that a number's calls are spaced for."""
    return rate / pace_window(rate)


def dispatch_rate(rate: float) -> float:
    """Messages a second that Temporal dispatches: just under the pace, so that the second's worth of
    tasks that its limiter lets through after a pause drains from the worker again.
    """
    return paced_rate(rate) * 0.995


def window_open(last_inbound_at: datetime | None, now: datetime) -> bool:
    """Whether the customer service window of a contact is open at ``now``."""
    return last_inbound_at is not None and now < last_inbound_at + CUSTOMER_SERVICE_WINDOW


def pair_wait(deferrals: int) -> timedelta:
    """How long a message waits after its n-th 131056 (n from 0): 4**n seconds, at most an hour."""
    return timedelta(seconds=min(4 ** min(deferrals, 6), 3600))


def throttled_rate(current: float, base: float) -> float:
    """The rate after a 130429: half, never under 1/50 of the base nor under 0.2 a second.

    Temporal reserves a token ahead: under 0.2 a second a lifted override would take effect late.
    """
    return max(current / 2, base / 50, 0.2)


def recovered_rate(current: float, base: float) -> float:
    """The next step back up: a quarter more, at least a tenth of the base, never above it."""
    return min(base, max(current * 1.25, current + base / 10))


SEND_MARGIN: Final = timedelta(seconds=15)
"""From the start of an attempt to its POST at most 10 s pass (it posts no more after that); the rest
is for the answer to travel."""


def send_window(call_timeout: float, receipt_wait: float) -> timedelta:
    """From the start of an attempt until its outcome is known, whoever made it (seconds).

    It covers the wait for a slot, the call, and the time a receipt takes: when an attempt ends because
    its worker died, the next one may rely on a receipt having arrived if there is one.
    """
    return SEND_MARGIN + timedelta(seconds=call_timeout + receipt_wait)


def probe_wait(probes: int) -> timedelta:
    """The wait after the n-th probe of a held number: 5 s doubled each time, at most 10 minutes."""
    return timedelta(seconds=min(5 * 2 ** min(probes, 7), 600))


def retry_wait(attempts: int, initial: float = 1.0, maximum: float = 300.0) -> timedelta:
    """The back-off after ``attempts`` failed attempts: 1 s, 2 s, 4 s... at most 5 minutes."""
    return timedelta(seconds=min(initial * 2 ** min(max(attempts, 1) - 1, 30), maximum))
