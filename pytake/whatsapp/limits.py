"""Meta's limits as numbers and pure functions.

Source of all of them: Meta's "Messaging limits" and "Throughput" pages (read September 2026).
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from pytake.backoff import backoff

CUSTOMER_SERVICE_WINDOW: Final = timedelta(hours=24)
"""How long after a user's last message free-form messages to them are allowed."""

TIER_WINDOW: Final = timedelta(hours=24)
"""The rolling window in which unique recipients are counted."""

PAIR_INTERVAL: Final = timedelta(seconds=6)
"""Sustained: one message per six seconds to the same user."""

PAIR_BURST: Final = 45
"""Messages to the same user that a burst may borrow from later capacity."""


@dataclass(frozen=True, slots=True)
class Tier:
    """A messaging limit: unique recipients per rolling 24 hours; ``None`` is unlimited."""

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
    """Meta's name of a limit, as in its responses."""
    names = (name for name, known in _TIERS.items() if known.daily_limit == tier.daily_limit)
    return next((name for name in names if name not in _OWN_NAMES), tier.name)


def next_tier(tier: Tier) -> Tier | None:
    """Meta's next higher limit; ``None`` above unlimited."""
    if tier.daily_limit is None:
        return None
    higher = (_TIERS[name] for name in _LADDER)
    return next(t for t in higher if t.daily_limit is None or t.daily_limit > tier.daily_limit)


def parse_tier(name: str) -> Tier:
    """The tier with PyTake's or Meta's name, case-insensitive.

    Raises:
        ValueError: the name is not one of ``TIER_NAMES``.
    """
    tier = _TIERS.get(name.strip().upper())
    if tier is None:
        raise ValueError(f"unknown tier {name!r}: use one of {', '.join(TIER_NAMES)}")
    return tier


def pace_window(rate: float) -> float:
    """Seconds in which at most ``rate`` calls go out: one second plus room for network jitter.

    81 calls paced for 80 per second span 1.04 s, so that 40 ms of jitter do not make Meta count more
    than 80 in any one second. A slow number can afford more room: 100 ms at 5 per second.
    """
    return 1 + max(0.04, min(0.1, 0.5 / rate))


def process_window(rate: float) -> float:
    """Seconds in which at most ``rate`` calls of one process leave: :func:`pace_window` with half of
    its room for jitter, so that one late call does not delay all later ones.
    """
    return 1 + (pace_window(rate) - 1) / 2


def paced_rate(rate: float) -> float:
    """The rate, in calls per second, for which a number's calls are spaced."""
    return rate / pace_window(rate)


def dispatch_rate(rate: float) -> float:
    """Messages per second that Temporal dispatches: just under the pace, so that the worker catches up
    after the burst (one second's worth) that Temporal's limiter lets through after a pause.
    """
    return paced_rate(rate) * 0.995


def window_open(last_inbound_at: datetime | None, now: datetime) -> bool:
    """Whether the customer service window of a contact is open at ``now``."""
    return last_inbound_at is not None and now < last_inbound_at + CUSTOMER_SERVICE_WINDOW


def pair_wait(deferrals: int) -> timedelta:
    """How long a message waits after its n-th 131056 (n from 0): 4**n seconds, at most one hour."""
    return timedelta(seconds=backoff(deferrals + 1, initial=1.0, maximum=3600.0, factor=4.0))


def throttled_rate(current: float, base: float) -> float:
    """The rate after a 130429: half, but at least 1/50 of the base and 0.2 per second.

    Temporal reserves a token ahead: below 0.2 per second, lifting an override would take effect late.
    """
    return max(current / 2, base / 50, 0.2)


def recovered_rate(current: float, base: float) -> float:
    """The next step back up: a quarter more, but at least a tenth of the base more, up to the base."""
    return min(base, max(current * 1.25, current + base / 10))


SEND_MARGIN: Final = timedelta(seconds=15)
"""An attempt posts at most 10 s after its start, or not at all; the rest is for the response's
travel time."""


def send_window(call_timeout: float, receipt_wait: float) -> timedelta:
    """The time from the start of an attempt until its outcome is known; arguments in seconds.

    It covers the wait for a slot, the call, and the arrival of a receipt: after an attempt whose worker
    died, the next one can rely on a receipt having arrived if there is one.
    """
    return SEND_MARGIN + timedelta(seconds=call_timeout + receipt_wait)


def probe_wait(probes: int) -> timedelta:
    """The wait after ``probes`` failed probes of a held number: 5 s, 10 s, 20 s... at most 10 minutes."""
    return retry_wait(probes + 1, initial=5.0, maximum=600.0)


def retry_wait(attempts: int, initial: float = 1.0, maximum: float = 300.0) -> timedelta:
    """The back-off after ``attempts`` failed attempts: ``initial`` seconds, doubled up to ``maximum``."""
    return timedelta(seconds=backoff(attempts, initial=initial, maximum=maximum))
