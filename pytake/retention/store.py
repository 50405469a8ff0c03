"""Deletes rows that are older than the retention, in small transactions that block nobody for long.

What is still needed stays: messages in flight are in Temporal, contacts and opt-outs do not expire, and
the auto-responder's answers keep their rows, by which uses are counted, without their content.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from sqlalchemy import delete, func, select, update
from sqlmodel import Session, col

from pytake.callback.tables import CallbackUpdate, SetAside
from pytake.conversations.tables import AutoReply, InboundMessage
from pytake.insights.tables import NumberChange
from pytake.messages.tables import Message, SendAttempt, SendClaim
from pytake.numbers.tables import Alert
from pytake.webhooks.policies import DeliveryStatus
from pytake.webhooks.tables import WebhookAttempt, WebhookDelivery, WebhookEvent

BATCH: Final = 500
"""Rows per transaction."""


def count(session: Session, before: datetime) -> dict[str, int]:
    """How many rows of each table repeated calls of :func:`step` would delete."""
    return {
        name: session.scalars(
            select(func.count()).select_from(select(*_keys(table)).where(*where(before)).subquery())
        ).one()
        for name, (table, where) in _OLD.items()
    }


def step(session: Session, name: str, before: datetime) -> int:
    """Delete up to :data:`BATCH` rows of a table; return how many were deleted."""
    table, where = _OLD[name]
    rows = session.execute(select(*_keys(table)).where(*where(before)).limit(BATCH)).all()
    if not rows:
        return 0
    ids = [row[0] for row in rows]
    if table is Message:
        session.execute(delete(SendAttempt).where(col(SendAttempt.message_id).in_(ids)))
    if table is WebhookDelivery:
        session.execute(delete(WebhookAttempt).where(col(WebhookAttempt.delivery_id).in_(ids)))
    key = _keys(table)[0]
    if table is AutoReply:
        session.execute(update(AutoReply).where(key.in_(ids)).values(messages=[], recipient=""))
    else:
        session.execute(delete(table).where(key.in_(ids)))
    return len(ids)


def names() -> list[str]:
    """The tables, in the order in which to prune them."""
    return list(_OLD)


def _keys(table: Any) -> list[Any]:
    return [getattr(table, column.name) for column in table.__table__.primary_key][:1]


def _messages(before: datetime) -> list[Any]:
    return [col(Message.updated_at) < before, col(Message.status).is_not(None)]


def _deliveries(before: datetime) -> list[Any]:
    pending = DeliveryStatus.PENDING.value
    return [col(WebhookDelivery.created_at) < before, col(WebhookDelivery.status) != pending]


def _events(before: datetime) -> list[Any]:
    left = select(col(WebhookDelivery.event_id)).where(
        col(WebhookDelivery.event_id) == WebhookEvent.id
    )
    return [col(WebhookEvent.created_at) < before, ~left.exists()]


def _inbound(before: datetime) -> list[Any]:
    return [
        col(InboundMessage.received_at) < before,
        col(InboundMessage.signalled_at).is_not(None),
    ]


_OLD: Final[dict[str, tuple[Any, Callable[[datetime], list[Any]]]]] = {
    "messages": (Message, _messages),
    "inbound messages": (InboundMessage, _inbound),
    "answers": (
        AutoReply,
        lambda before: [col(AutoReply.at) < before, col(AutoReply.recipient) != ""],
    ),
    "webhook deliveries": (WebhookDelivery, _deliveries),
    "webhook events": (WebhookEvent, _events),
    "callback updates": (CallbackUpdate, lambda before: [col(CallbackUpdate.received_at) < before]),
    "parts of callbacks set aside": (
        SetAside,
        lambda before: [col(SetAside.received_at) < before],
    ),
    "claims of messages": (SendClaim, lambda before: [col(SendClaim.claimed_at) < before]),
    "alerts": (Alert, lambda before: [col(Alert.ended_at) < before]),
    "changes of numbers": (NumberChange, lambda before: [col(NumberChange.at) < before]),
}
"""Table and condition for old rows, by name; an event goes once its deliveries are gone."""
