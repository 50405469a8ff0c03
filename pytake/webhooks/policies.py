"""When a webhook delivery is tried again, and when an endpoint is given up."""

import email.utils
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

RETRY_AFTER_CAP: Final = 24 * 3600.0
"""Seconds: no endpoint can park a delivery for longer."""
GONE: Final = 410


class DeliveryStatus(StrEnum):
    """Where one event stands with one endpoint."""

    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD = "dead_letter"
    DISCARDED = "discarded"
    """The endpoint was disabled when the event occurred; kept, can be replayed."""


@dataclass(frozen=True, slots=True)
class EndpointRetryPolicy:
    """An endpoint's retries: explicit seconds, or a back-off; jitter only ever lengthens a wait."""

    max_retries: int
    schedule: tuple[float, ...] = ()
    initial: float = 5.0
    factor: float = 3.0
    maximum: float = 6 * 3600.0
    jitter: float = 0.2

    @property
    def max_attempts(self) -> int:
        """The first attempt, and the retries."""
        return self.max_retries + 1

    def delay(self, failed: int, chance: float, retry_after: float | None = None) -> float:
        """Seconds before the attempt after ``failed`` ones; ``chance`` in [0, 1) draws the jitter."""
        if self.schedule:
            base = self.schedule[min(failed, len(self.schedule)) - 1]
        else:
            base = min(self.initial * self.factor ** min(failed - 1, 60), self.maximum)
        wanted = base * (1 + self.jitter * chance)
        return max(wanted, min(retry_after or 0.0, RETRY_AFTER_CAP))


def attempts_made(activity_attempt: int, refusals: int | None, before: int) -> int:
    """Attempts at a delivery that were begun before this one, those included whose worker was lost.

    ``activity_attempt`` counts from 1, and what found no slot (``refusals``) with it, which is no attempt;
    ``None`` if that was never noted, as it is when an attempt begins. ``before`` were made by earlier
    activities of the delivery.
    """
    return before if refusals is None else before + max(activity_attempt - 1 - refusals, 0)


def succeeded(status: int) -> bool:
    """Whether an endpoint's answer is a success: 2xx only, a redirect is not."""
    return 200 <= status <= 299


def parse_retry_after(value: str | None, now: datetime) -> float | None:
    """Seconds that a ``Retry-After`` header asks for, given in seconds or as a date."""
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit() and len(text) < 10:
        return float(text)
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max((moment - now).total_seconds(), 0.0)


def give_up(
    failing_since: datetime | None, failures: int, now: datetime, after: timedelta, count: int
) -> bool:
    """Whether an endpoint is to be disabled: failing for long enough *and* often enough."""
    return failing_since is not None and now - failing_since >= after and failures >= count
