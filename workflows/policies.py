"""All timeouts and retry policies, where they can be compared, each with its reason."""

from datetime import timedelta
from typing import Final

from temporalio.common import RetryPolicy

from pytake.messages.contracts import MessageInput
from pytake.webhooks.contracts import DeliveryInput
from pytake.whatsapp.limits import send_window


def send_timeout(message: MessageInput) -> timedelta:
    """One attempt at ``send_message`` or ``send_directly``."""
    return send_window(message.send_timeout_seconds, message.receipt_wait_seconds)


def send_retry(message: MessageInput, spent: int) -> RetryPolicy:
    """1 s, doubled, at most 5 minutes; after a deferral it goes on where it was."""
    return RetryPolicy(
        initial_interval=min(timedelta(seconds=2 ** min(spent, 9)), timedelta(minutes=5)),
        backoff_coefficient=2.0,
        maximum_interval=timedelta(minutes=5),
        maximum_attempts=max(message.max_attempts - spent, 1),
    )


SEND_DIRECTLY_RETRY: Final = RetryPolicy(maximum_attempts=1)
"""A direct send is tried once; everything else is the queued activity's."""

RECORD_TIMEOUT: Final = timedelta(seconds=30)
"""One transaction, behind others when the database is busy."""
RECORD_RETRY: Final = RetryPolicy(
    initial_interval=timedelta(milliseconds=100),
    backoff_coefficient=2.0,
    maximum_interval=timedelta(seconds=30),
)
"""Without end: an outcome that is known is never dropped because the database is away."""
RECORD_LOCAL_THRESHOLD: Final = timedelta(seconds=5)
"""Longer waits between retries are timers on the server, so that the worker is free meanwhile."""

FIND_RECEIPT_TIMEOUT: Final = timedelta(seconds=30)
"""Two reads of the database."""
FIND_RECEIPT_RETRY: Final = RetryPolicy(
    initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=60)
)
"""Without end: whether a message went out is not decided by a database that is away."""

STEER_TIMEOUT: Final = timedelta(seconds=30)
"""One row and one call to Temporal."""
STEER_RETRY: Final = RetryPolicy(
    initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=30)
)
"""Without end: the rate of a number must follow its row."""


def delivery_timeout(delivery: DeliveryInput) -> timedelta:
    """One attempt at ``deliver_webhook``: up to three requests (a token, the event, again after a
    401), and the database.
    """
    return timedelta(seconds=4 * delivery.timeout_seconds + 30)


DELIVERY_HEARTBEAT: Final = timedelta(seconds=15)
"""A worker that was killed in an attempt is noticed after this, not after the whole attempt."""


DELIVERY_RETRY: Final = RetryPolicy(
    initial_interval=timedelta(seconds=5),
    backoff_coefficient=2.0,
    maximum_interval=timedelta(minutes=5),
)
"""Each wait comes from the activity, which knows the endpoint's plan; what stands here is for an attempt
whose worker was lost. The activity counts, too: to Temporal what found no slot is one more attempt, for
as one it comes back without a workflow task.
"""


REPLAY_TIMEOUT: Final = timedelta(seconds=60)
"""A second's worth of deliveries: rows and workflow starts."""

DECIDE_TIMEOUT: Final = timedelta(seconds=30)
"""One transaction, and compiling the rules when they changed."""
DECIDE_RETRY: Final = RetryPolicy(
    initial_interval=timedelta(milliseconds=500), maximum_interval=timedelta(seconds=30)
)
"""Without end: a contact's message waits for the database; what is too old then gets no answer."""
REPLY_TIMEOUT: Final = timedelta(seconds=60)
"""Up to 20 s for the message before, the database, and one workflow start."""
REPLY_RETRY: Final = RetryPolicy(
    initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=30)
)
"""Without end: the activity itself knows when it is too late for an answer."""
MARK_READ_TIMEOUT: Final = timedelta(seconds=30)
"""One call to Meta."""
MARK_READ_RETRY: Final = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_attempts=3)
"""A read mark that comes late is worth nothing."""

LIST_NUMBERS_TIMEOUT: Final = timedelta(seconds=30)
"""One read of the database."""
SNAPSHOT_TIMEOUT: Final = timedelta(minutes=3)
"""A few management calls, of 20 s each at most, and their writes."""
SNAPSHOT_RETRY: Final = RetryPolicy(
    initial_interval=timedelta(seconds=2),
    maximum_interval=timedelta(seconds=30),
    maximum_attempts=4,
)
"""For our own database; what Meta refuses is noted, and asked again by the next snapshot."""

RECONCILE_TIMEOUT: Final = timedelta(hours=1)
"""A first run over everything that the namespace's retention has kept."""
RECONCILE_HEARTBEAT: Final = timedelta(minutes=2)
"""One page of workflows, or one workflow that ended without a record."""

PRUNE_TIMEOUT: Final = timedelta(hours=6)
"""A first run over years of messages, in steps of 500."""
PRUNE_HEARTBEAT: Final = timedelta(minutes=2)
"""One step waits for the database at most this long."""
