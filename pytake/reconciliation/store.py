"""Completes what a workflow that was ended from outside left undone.

A terminated workflow runs no more code, so its end is not recorded. The functions here decide it
from the database, in one transaction each; they are idempotent.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import select, update
from sqlmodel import Session, col

from pytake.conversations.party import Party
from pytake.conversations.tables import AutoReply, InboundMessage
from pytake.database.upsert import insert_into
from pytake.messages import claims as send_claims
from pytake.messages import store as messages
from pytake.messages.contracts import MessageInput, OutcomeRecord, Problem
from pytake.messages.events import raise_for
from pytake.messages.status import Observation
from pytake.messages.tables import Message, SendAttempt
from pytake.reconciliation.tables import Watermark
from pytake.webhooks.contracts import DeliveryInput
from pytake.webhooks.policies import DeliveryStatus
from pytake.webhooks.tables import WebhookDelivery
from pytake.whatsapp.errors import ErrorClass
from pytake.whatsapp.limits import CUSTOMER_SERVICE_WINDOW

_RETRY: Final = (
    "Nothing was sent. Retry it if it is still wanted: it then goes out at once. "
    "To stop a message, cancel it instead."
)
_ASK: Final = (
    "An attempt was under way: Meta may have accepted the message. Ask the recipient before you "
    "retry it."
)


@dataclass(frozen=True, slots=True)
class Ending:
    """How the last run of a message's workflow ended in Temporal."""

    how: str
    """``terminated``, ``timed out``, ``failed`` or ``canceled``."""
    at: datetime
    attempting: bool = False
    """Whether a worker had a queued attempt, which it may still make, or which was lost with it."""
    unclear: bool = False
    """Whether an attempt that was due may have been made: none was in the queue, and the message was not
    waiting on a timer of its own."""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Closed:
    """What :func:`close_message` did: a record, nothing, or nothing until ``retry_at``."""

    record: OutcomeRecord | None = None
    raised: list[DeliveryInput] = field(default_factory=list)
    retry_at: datetime | None = None


def unrecorded(session: Session, message_ids: list[str]) -> set[str]:
    """The messages among these whose latest generation has no recorded outcome."""
    recorded = session.scalars(
        select(col(Message.id)).where(
            col(Message.id).in_(message_ids),
            col(Message.recorded).is_(True),
            col(Message.status).is_not(None),
        )
    )
    return set(message_ids) - set(recorded)


def close_message(
    session: Session, message: MessageInput, ending: Ending, window: timedelta, at: datetime
) -> Closed:
    """Record the end of a message whose workflow did not: sent if there is a receipt, else a dead letter
    (cancelled, if its workflow was cancelled and nothing can have been sent).

    An attempt that had begun may reach Meta after its workflow ended. ``window`` is the time from its
    start until its receipt must have arrived; nothing is recorded before that, so that no retry can
    overlap with it. A first attempt that has not begun is claimed here, so that it never begins.
    """
    row = session.get(Message, message.message_id, with_for_update=True)
    if row is not None and (
        row.generation > message.generation or (row.recorded and row.status is not None)
    ):
        return Closed()  # recorded, or redriven since
    receipt = messages.find_receipt(session, message.message_id, message.superseded_wamids)
    last = _last_attempt(session, message)
    attempts = max(message.attempts_spent, last.attempt if last else 0)
    if receipt is not None:
        record = OutcomeRecord(
            message=message,
            observation=Observation.ACCEPTED,
            at=receipt.sent_at or at,
            wamid=receipt.wamid,
            wa_id=receipt.wa_id,
            attempts=max(attempts, 1),
        )
        return _recorded(session, record, at)
    doubtful_since = _doubtful_since(session, message, ending, last, at)
    if doubtful_since is not None and doubtful_since + window > at:
        return Closed(retry_at=doubtful_since + window)
    sure = doubtful_since is None
    record = OutcomeRecord(
        message=message,
        observation=(
            Observation.CANCELLED if sure and ending.how == "canceled" else Observation.DEAD
        ),
        at=at,
        attempts=attempts if sure else max(attempts, 1),
        problem=_problem(ending, last, sure=sure),
    )
    return _recorded(session, record, at)


def _last_attempt(session: Session, message: MessageInput) -> SendAttempt | None:
    return session.scalars(
        select(SendAttempt)
        .where(
            col(SendAttempt.message_id) == message.message_id,
            col(SendAttempt.generation) == message.generation,
        )
        .order_by(col(SendAttempt.attempt).desc())
        .limit(1)
    ).first()


def _doubtful_since(
    session: Session,
    message: MessageInput,
    ending: Ending,
    last: SendAttempt | None,
    at: datetime,
) -> datetime | None:
    """The start of an attempt that may have reached Meta; ``None`` if there is none and will be none."""
    if message.generation == 0 and last is None and message.attempts_spent == 0:
        claims = send_claims.claim(session, [(message.message_id, message.tenant_id)], at)
        return claims.get(message.message_id)
    due = last is None or (last.next_retry_at is not None and last.next_retry_at <= ending.at)
    if ending.attempting or (ending.unclear and due):
        return ending.at
    return last.at if last is not None and last.error_class == ErrorClass.AMBIGUOUS else None


def _problem(ending: Ending, last: SendAttempt | None, *, sure: bool) -> Problem | None:
    if sure and ending.how == "canceled":
        return None
    detail = ending.detail
    if last is not None:
        code = f"({last.error_code}) " if last.error_code is not None else ""
        detail += f"; attempt {last.attempt} had failed: {code}{last.error_title}"
    return Problem(
        error_class=ErrorClass.PERMANENT if sure else ErrorClass.AMBIGUOUS,
        title=f"The workflow was {ending.how} in Temporal",
        detail=detail.removeprefix("; "),
        advice=_RETRY if sure else _ASK,
    )


def _recorded(session: Session, record: OutcomeRecord, at: datetime) -> Closed:
    messages.record_outcomes(session, [record])
    return Closed(record, raise_for(session, [record.message.message_id], at))


def pending_delivery(session: Session, delivery: DeliveryInput) -> bool:
    """Whether this run of a delivery is still pending."""
    row = session.get(WebhookDelivery, delivery.delivery_id)
    return (
        row is not None and row.run == delivery.run and row.status == DeliveryStatus.PENDING.value
    )


def signal_again(session: Session, party: Party, ended_at: datetime) -> int:
    """Reset inbound messages that a conversation was signalled but did not decide on, so that they are
    signalled again; those outside the customer service window are left, they cannot be answered.

    Returns:
        How many were reset.
    """
    rows = session.scalars(
        select(col(InboundMessage.wamid)).where(
            col(InboundMessage.tenant_id) == party.tenant_id,
            col(InboundMessage.phone_number_id) == party.phone_number_id,
            col(InboundMessage.contact_key) == party.contact_key,
            col(InboundMessage.handled_by).is_(None),
            # Messages that no conversation handles are marked as signalled when they arrive.
            col(InboundMessage.signalled_at) > InboundMessage.received_at,
            col(InboundMessage.received_at) > ended_at - CUSTOMER_SERVICE_WINDOW,
            col(InboundMessage.received_at) <= ended_at,
        )
    ).all()
    session.execute(
        update(InboundMessage).where(col(InboundMessage.wamid).in_(rows)).values(signalled_at=None)
    )
    return len(rows)


def last_answer(session: Session, party: Party, before: datetime) -> AutoReply | None:
    """The last answer that a conversation decided on ``before`` a time. Only this one can be unsent, as a
    conversation sends its answers one after the other.
    """
    found = session.scalars(
        select(AutoReply)
        .where(
            col(AutoReply.tenant_id) == party.tenant_id,
            col(AutoReply.phone_number_id) == party.phone_number_id,
            col(AutoReply.contact_key) == party.contact_key,
            col(AutoReply.at) <= before,
            col(AutoReply.key).not_like("process%"),  # of POST /process, which sends its own
        )
        .order_by(col(AutoReply.at).desc())
        .limit(1)
    ).first()
    return found if found is not None and found.status == "answered" else None


def watermark(session: Session, name: str) -> datetime | None:
    """The position of a watermark; ``None`` before the first run."""
    row = session.get(Watermark, name)
    return row.at if row else None


def advance(session: Session, name: str, at: datetime) -> None:
    """Move a watermark to ``at``."""
    statement = insert_into(session, Watermark).values(name=name, tenant_id="*", at=at)
    session.execute(statement.on_conflict_do_update(index_elements=["name"], set_={"at": at}))
