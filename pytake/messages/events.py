"""Events that messages raise."""

from datetime import datetime
from typing import Final

from sqlalchemy import select
from sqlmodel import Session, col

from pytake.contacts.identities import contact_key
from pytake.messages.contracts import MessageInput
from pytake.messages.status import HELD_BY_META, PUBLIC, Observation
from pytake.messages.tables import Message
from pytake.webhooks.contracts import DeliveryInput
from pytake.webhooks.event_types import EventError, EventType, MessageEvent
from pytake.webhooks.events import NewEvent, emit
from pytake.webhooks.ordering import conversation_of
from pytake.webhooks.tables import WebhookEndpoint

_PACING: Final = (132015, 135000)
"""Codes of messages that Meta accepted, held and dropped (template and portfolio pacing)."""


def has_endpoints(session: Session, tenants: set[str]) -> bool:
    """Whether any of the tenants has a webhook endpoint."""
    statement = select(col(WebhookEndpoint.id)).where(col(WebhookEndpoint.tenant_id).in_(tenants))
    return session.scalars(statement.limit(1)).first() is not None


def raise_for(session: Session, message_ids: list[str], now: datetime) -> list[DeliveryInput]:
    """Raise the events implied by the rows of these messages, if their tenants have endpoints."""
    tenants = set(
        session.scalars(
            select(col(Message.tenant_id)).where(col(Message.id).in_(message_ids)).distinct()
        )
    )
    if not tenants or not has_endpoints(session, tenants):
        return []
    rows = session.scalars(
        select(Message).where(
            col(Message.id).in_(message_ids),
            col(Message.recorded).is_(True),
            col(Message.status).is_not(None),
        )
    )
    return emit(session, [event for row in rows for event in events_of(row)], now)


def events_of(row: Message) -> list[NewEvent]:
    """Everything that has happened to a recorded message."""
    observation = Observation(row.status or Observation.ACCEPTED)
    happened: list[tuple[EventType, str, datetime | None]] = [
        (EventType.MESSAGE_QUEUED, "queued", row.created_at),
        (EventType.MESSAGE_SENT, "sent", _sent_at(row, observation)),
        (EventType.MESSAGE_DELIVERED, "delivered", row.delivered_at),
        (EventType.MESSAGE_READ, "read", row.read_at),
    ]
    if PUBLIC[observation] == "failed":
        happened.append((EventType.MESSAGE_FAILED, "failed", row.failed_at or row.updated_at))
    if observation is Observation.CANCELLED:
        happened.append(
            (EventType.MESSAGE_CANCELLED, "cancelled", row.cancelled_at or row.updated_at)
        )
    error = None
    if row.error_class is not None:
        error = EventError(
            code=row.error_code,
            title=row.error_title or "",
            detail=row.error_detail or "",
            advice=row.error_advice or "",
        )
    return [
        _event(
            row.tenant_id,
            kind,
            f"{row.id}:{row.generation if kind is not EventType.MESSAGE_QUEUED else 0}",
            at,
            MessageEvent(
                message_id=row.id,
                status=status,
                to=row.recipient or "",
                phone_number_id=row.phone_number_id,
                at=at,
                wamid=row.wamid if status not in ("queued", "cancelled") else None,
                message_type=row.message_type,
                metadata=row.labels or {},
                error=error if kind is EventType.MESSAGE_FAILED else None,
            ),
            conversation_of(row.phone_number_id, row.contact_key or ""),
        )
        for kind, status, at in happened
        if at is not None
    ]


def _sent_at(row: Message, observation: Observation) -> datetime | None:
    """When the message was sent; ``None`` while Meta holds it, or if Meta then dropped it."""
    dropped = observation is Observation.FAILED and row.error_code in _PACING
    if observation in HELD_BY_META or dropped:
        return row.sent_at
    return row.accepted_at or row.sent_at


def raise_queued(session: Session, message: MessageInput, now: datetime) -> list[DeliveryInput]:
    """Raise ``message.queued`` at once; after a crash, recording the outcome raises it instead."""
    event = _event(
        message.tenant_id,
        EventType.MESSAGE_QUEUED,
        f"{message.message_id}:0",
        message.created_at,
        MessageEvent(
            message_id=message.message_id,
            status="queued",
            to=message.recipient,
            phone_number_id=message.phone_number_id,
            at=message.created_at,
            message_type=message.message_type.value,
            metadata=message.metadata,
        ),
        conversation_of(message.phone_number_id, contact_key(message.recipient)),
    )
    return emit(session, [event], now)


def _event(
    tenant_id: str, kind: EventType, key: str, at: datetime, data: MessageEvent, conversation: str
) -> NewEvent:
    return NewEvent(tenant_id, kind.value, key, data.model_dump(mode="json"), at, conversation)
