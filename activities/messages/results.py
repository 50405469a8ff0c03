"""Results of attempts that neither succeeded nor failed."""

from datetime import datetime, timedelta
from typing import Final

from temporalio import activity

from pytake.messages.contracts import SendOutcome, SendResult
from pytake.messages.waits import label
from pytake.process.telemetry import DEFERRALS

INFRASTRUCTURE_WAIT: Final = timedelta(seconds=5)
"""How long a message waits while our own database is unavailable; this does not count as an attempt."""


def wait(outcome: SendOutcome, reason: str, until: datetime | None = None) -> SendResult:
    """The result of a message that waits: until its own time (DEFERRED), or in the queue (REQUEUE)."""
    DEFERRALS.labels(label(reason)).inc()
    return SendResult(
        outcome=outcome, reason=reason, until=until, attempts_spent=activity.info().attempt - 1
    )
