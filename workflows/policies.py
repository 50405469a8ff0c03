"""All timeouts and retry policies, where they can be compared, each with its reason."""

from datetime import timedelta
from typing import Final

from temporalio.common import RetryPolicy

from pytake.messages.contracts import MessageInput
from pytake.webhooks.contracts import DeliveryInput
from pytake.whatsapp.limits import retry_wait, send_window


def send_timeout(message: MessageInput) -> timedelta:
    """One attempt at ``send_message`` or ``send_directly``."""
    return send_window(message.send_timeout_seconds, message.receipt_wait_seconds)


def send_retry(message: MessageInput, spent: int) -> RetryPolicy:
    """From 1 s, doubled up to 5 minutes; after a deferral the back-off goes on where it stopped."""
    return RetryPolicy(
        initial_interval=retry_wait(spent + 1),
        backoff_coefficient=2.0,
        maximum_interval=timedelta(minutes=5),
        maximum_attempts=max(message.max_attempts - spent, 1),
    )


SEND_DIRECTLY_RETRY: Final = RetryPolicy(maximum_attempts=1)
"""A direct send is tried once; all retries are the queued activity's."""

RECORD_TIMEOUT: Final = timedelta(seconds=30)
"""One transaction, which waits behind others when the database is busy."""
RECORD_RETRY: Final = RetryPolicy(
    initial_interval=timedelta(milliseconds=100),
    backoff_coefficient=2.0,
    maximum_interval=timedelta(seconds=30),
)
"""No limit: a known outcome is never dropped because the database is down."""
RECORD_LOCAL_THRESHOLD: Final = timedelta(seconds=5)
"""Longer waits between retries become timers on the server, which frees the worker."""

FIND_RECEIPT_TIMEOUT: Final = timedelta(seconds=30)
"""Two reads of the database."""
FIND_RECEIPT_RETRY: Final = RetryPolicy(
    initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=60)
)
"""No limit: a database that is down does not decide whether a message went out."""

STEER_TIMEOUT: Final = timedelta(seconds=30)
"""One row and one call to Temporal."""
UNLIMITED_RETRY: Final = RetryPolicy(
    initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=30)
)
"""No limit: a number's rate must follow its row. Also for other work that is only ever delayed."""


def delivery_timeout(delivery: DeliveryInput) -> timedelta:
    """One attempt at ``deliver_webhook``: up to three requests (a token, the event, the event again
    after a 401), and the database.
    """
    return timedelta(seconds=4 * delivery.timeout_seconds + 30)


DELIVERY_HEARTBEAT: Final = timedelta(seconds=15)
"""A worker killed during an attempt is noticed after this time, not after the whole timeout."""


DELIVERY_RETRY: Final = RetryPolicy(
    initial_interval=timedelta(seconds=5),
    backoff_coefficient=2.0,
    maximum_interval=timedelta(minutes=5),
)
"""Only for attempts whose worker was lost: otherwise the activity, which knows the endpoint's plan,
sets each wait. It also counts the attempts: Temporal's count includes those that found no free slot,
which are retried as attempts because that needs no workflow task.
"""


REPLAY_TIMEOUT: Final = timedelta(seconds=60)
"""One second's worth of deliveries: rows and workflow starts."""

DECIDE_TIMEOUT: Final = timedelta(seconds=30)
"""One transaction, and compiling the rules if they changed."""
DECIDE_RETRY: Final = RetryPolicy(
    initial_interval=timedelta(milliseconds=500), maximum_interval=timedelta(seconds=30)
)
"""No limit: a contact's message waits for the database; one that is too old by then gets no answer."""
REPLY_TIMEOUT: Final = timedelta(seconds=60)
"""Up to 20 s for the previous message, the database, and one workflow start."""
REPLY_RETRY: Final = RetryPolicy(
    initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=30)
)
"""No limit: the activity itself knows when it is too late for an answer."""
MARK_READ_TIMEOUT: Final = timedelta(seconds=30)
"""One call to Meta."""
MARK_READ_RETRY: Final = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_attempts=3)
"""A late read mark is worthless."""

LIST_NUMBERS_TIMEOUT: Final = timedelta(seconds=30)
"""One read of the database."""
SNAPSHOT_TIMEOUT: Final = timedelta(minutes=3)
"""A few management calls of at most 20 s each, and their writes."""
SNAPSHOT_RETRY: Final = RetryPolicy(
    initial_interval=timedelta(seconds=2),
    maximum_interval=timedelta(seconds=30),
    maximum_attempts=4,
)
"""For our own database; what Meta refuses is recorded, and asked again by the next snapshot."""

RECONCILE_TIMEOUT: Final = timedelta(hours=1)
"""A first run over everything that the namespace's retention has kept."""
RECONCILE_HEARTBEAT: Final = timedelta(minutes=2)
"""One page of workflows, or one workflow that ended without a record."""

PRUNE_TIMEOUT: Final = timedelta(hours=6)
"""A first run over years of messages, in steps of 500."""
PRUNE_HEARTBEAT: Final = timedelta(minutes=2)
"""The longest that one step waits for the database."""
