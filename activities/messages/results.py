"""What a try at a message comes to, if it is neither accepted nor failed."""

from datetime import datetime, timedelta
from typing import Final

from temporalio import activity

from pytake.messages.contracts import SendOutcome, SendResult
from pytake.messages.waits import label
from pytake.process.telemetry import DEFERRALS

INFRASTRUCTURE_WAIT: Final = timedelta(seconds=5)
"""When our own database is away, the message waits; that is no attempt of its."""


def wait(outcome: SendOutcome, reason: str, until: datetime | None = None) -> SendResult:
    """The message waits: until a time of its own (DEFERRED), or in the queue again (REQUEUE)."""
    DEFERRALS.labels(label(reason)).inc()
    return SendResult(
        outcome=outcome, reason=reason, until=until, attempts_spent=activity.info().attempt - 1
    )
