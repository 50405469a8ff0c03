"""When a webhook delivery is retried, and when an endpoint is disabled."""

import email.utils
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final, Protocol

from pytake.backoff import backoff

RETRY_AFTER_CAP: Final = 24 * 3600.0
"""Longest ``Retry-After`` in seconds that is honoured."""


class DeliveryStatus(StrEnum):
    """The status of one event's delivery to one endpoint."""

    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD = "dead_letter"
    DISCARDED = "discarded"
    """The endpoint was disabled when the event occurred; it can be replayed."""


class RetrySettings(Protocol):
    """An endpoint's columns that set its retries; times in seconds."""

    max_retries: int
    retry_schedule: list[float]
    backoff_initial: float
    backoff_factor: float
    backoff_max: float
    backoff_jitter: float


@dataclass(frozen=True, slots=True)
class EndpointRetryPolicy:
    """An endpoint's retries: an explicit schedule in seconds, or exponential back-off. Jitter only ever
    lengthens a wait.
    """

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
        """Seconds before the next attempt after ``failed`` ones; ``chance`` in [0, 1) sets the jitter."""
        if self.schedule:
            base = self.schedule[min(failed, len(self.schedule)) - 1]
        else:
            base = backoff(failed, initial=self.initial, maximum=self.maximum, factor=self.factor)
        wanted = base * (1 + self.jitter * chance)
        return max(wanted, min(retry_after or 0.0, RETRY_AFTER_CAP))


def retry_policy_of(endpoint: RetrySettings) -> EndpointRetryPolicy:
    """The retry policy of an endpoint."""
    return EndpointRetryPolicy(
        max_retries=endpoint.max_retries,
        schedule=tuple(endpoint.retry_schedule),
        initial=endpoint.backoff_initial,
        factor=endpoint.backoff_factor,
        maximum=endpoint.backoff_max,
        jitter=endpoint.backoff_jitter,
    )


def attempts_made(activity_attempt: int, refusals: int | None, before: int) -> int:
    """Attempts at a delivery that started before this one, including those whose worker was lost.

    ``activity_attempt`` counts from 1 and includes ``refusals``, tries that found no slot and so are not
    attempts; ``None`` means that no attempt has started yet. ``before`` counts the attempts made by
    earlier activities of the delivery.
    """
    return before if refusals is None else before + max(activity_attempt - 1 - refusals, 0)


def succeeded(status: int) -> bool:
    """Whether a response status is a success: 2xx only, redirects are not."""
    return 200 <= status <= 299


def parse_retry_after(value: str | None, now: datetime) -> float | None:
    """Seconds from a ``Retry-After`` header, given as seconds or as a date; ``None`` if not valid."""
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
    """Whether to disable an endpoint: it has been failing for long enough *and* often enough."""
    return failing_since is not None and now - failing_since >= after and failures >= count
