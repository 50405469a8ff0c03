"""Raising events through an outbox: stored in the transaction that causes them, dispatched after it."""

import hashlib
import json
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import select, update
from sqlmodel import Session, col

from pytake.database.types import iso
from pytake.database.upsert import insert_into
from pytake.webhooks.contracts import DeliveryInput
from pytake.webhooks.event_types import subscribes
from pytake.webhooks.policies import DeliveryStatus
from pytake.webhooks.tables import (
    ConversationSequence,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookEvent,
)

_UNDISPATCHED_AFTER: Final = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event to raise; one with the same tenant, type and ``key`` is the same event."""

    tenant_id: str
    type: str
    key: str
    data: dict[str, Any]
    at: datetime
    conversation: str = ""
    sealed_headers: bytes | None = None

    @property
    def id(self) -> str:
        """``evt_`` and a hash of tenant, type and key."""
        return "evt_" + _digest(self.tenant_id, self.type, self.key)


def delivery_id(event_id: str, endpoint_id: str) -> str:
    """The id of a delivery, derived from its event and endpoint."""
    return "dlv_" + _digest(event_id, endpoint_id)


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


class FanOutError(Exception):
    """An event is too large for the number of endpoints that subscribe to it; the text gives the sizes."""


def emit(
    session: Session,
    events: list[NewEvent],
    now: datetime,
    only: str | None = None,
    most_bytes: int = 0,
) -> list[DeliveryInput]:
    """Store the events that have subscribers, with their deliveries.

    Call it in the transaction that causes them, and start the returned deliveries after the commit.
    ``only`` restricts the deliveries to one endpoint.

    Raises:
        FanOutError: an event's body size times its endpoints exceeds ``most_bytes``; 0 means no limit, as
            for PyTake's own events.
    """
    if not events:
        return []
    tenants = {event.tenant_id for event in events}
    endpoints: dict[str, list[WebhookEndpoint]] = defaultdict(list)
    statement = select(WebhookEndpoint).where(
        col(WebhookEndpoint.tenant_id).in_(tenants),
        col(WebhookEndpoint.one_off).is_(False)
        if only is None
        else col(WebhookEndpoint.id) == only,
    )
    for endpoint in session.scalars(statement):
        endpoints[endpoint.tenant_id].append(endpoint)
    started: list[DeliveryInput] = []
    for event in sorted(events, key=lambda event: event.conversation):
        targets = [
            endpoint
            for endpoint in endpoints[event.tenant_id]
            if only is not None or subscribes(endpoint.events, event.type)
        ]
        if targets:
            started += _store(session, event, targets, now, most_bytes)
    return started


def _store(
    session: Session,
    event: NewEvent,
    targets: list[WebhookEndpoint],
    now: datetime,
    most_bytes: int,
) -> list[DeliveryInput]:
    if session.get(WebhookEvent, event.id) is not None:
        return []
    sequence = _next(session, event.tenant_id, event.conversation)
    body = json.dumps(
        {
            "id": event.id,
            "type": event.type,
            "timestamp": iso(event.at),
            "tenant_id": event.tenant_id,
            "conversation": event.conversation or None,
            "sequence": sequence,
            "data": event.data,
        },
        ensure_ascii=False,
        separators=(",", ":"),
    )
    if most_bytes and (size := len(body.encode())) * len(targets) > most_bytes:
        raise FanOutError(
            f"{size} bytes to {len(targets)} endpoints that subscribe to {event.type} are "
            f"{size * len(targets)}, and one event may come to {most_bytes}: send less, or a link to it"
        )
    inserted = session.execute(
        insert_into(session, WebhookEvent)
        .values(
            id=event.id,
            tenant_id=event.tenant_id,
            type=event.type,
            conversation=event.conversation,
            sequence=sequence,
            body=body,
            sealed_headers=event.sealed_headers,
            created_at=now,
        )
        .on_conflict_do_nothing()
        .returning(WebhookEvent.id)
    ).first()
    if inserted is None:
        return []
    started = []
    for endpoint in targets:
        status = DeliveryStatus.PENDING if endpoint.active else DeliveryStatus.DISCARDED
        row = WebhookDelivery(
            id=delivery_id(event.id, endpoint.id),
            tenant_id=event.tenant_id,
            event_id=event.id,
            event_type=event.type,
            endpoint_id=endpoint.id,
            endpoint_key=endpoint.fairness_key,
            conversation=event.conversation,
            sequence=sequence,
            status=status.value,
            created_at=now,
            finished_at=None if endpoint.active else now,
        )
        session.add(row)
        if endpoint.active:
            started.append(delivery_input(row, endpoint))
    return started


def delivery_input(row: WebhookDelivery, endpoint: WebhookEndpoint) -> DeliveryInput:
    """The input of a delivery's workflow."""
    return DeliveryInput(
        delivery_id=row.id,
        event_id=row.event_id,
        endpoint_id=endpoint.id,
        endpoint_key=row.endpoint_key or row.endpoint_id,
        tenant_id=row.tenant_id,
        run=row.run,
        max_attempts=endpoint.max_retries + 1,
        rate=endpoint.rate_limit_per_second,
        timeout_seconds=endpoint.timeout_seconds,
        proven=endpoint.last_success_at is not None and endpoint.failures == 0,
    )


def _next(session: Session, tenant_id: str, conversation: str) -> int:
    statement = insert_into(session, ConversationSequence).values(
        tenant_id=tenant_id, conversation=conversation, value=1
    )
    value: int = session.execute(
        statement.on_conflict_do_update(
            index_elements=["tenant_id", "conversation"],
            set_={"value": ConversationSequence.value + 1},
        ).returning(ConversationSequence.value)
    ).scalar_one()
    return value


def mark_dispatched(session: Session, delivery_ids: list[str], now: datetime) -> None:
    """Note that the workflows of deliveries were started."""
    session.execute(
        update(WebhookDelivery)
        .where(col(WebhookDelivery.id).in_(delivery_ids))
        .values(dispatched_at=now)
    )


def undispatched(
    session: Session, now: datetime, skip: int = 0, limit: int = 200
) -> list[DeliveryInput]:
    """Deliveries that were stored but, due to a crash, have no workflow."""
    statement = (
        select(WebhookDelivery, WebhookEndpoint)
        .join(
            WebhookEndpoint,
            (col(WebhookEndpoint.id) == WebhookDelivery.endpoint_id)
            & (col(WebhookEndpoint.tenant_id) == WebhookDelivery.tenant_id),
        )
        .where(
            col(WebhookDelivery.status) == DeliveryStatus.PENDING.value,
            col(WebhookDelivery.dispatched_at).is_(None),
            col(WebhookDelivery.created_at) < now - _UNDISPATCHED_AFTER,
        )
        .order_by(col(WebhookDelivery.created_at), col(WebhookDelivery.id))
        .offset(skip)
        .limit(limit)
    )
    return [delivery_input(delivery, endpoint) for delivery, endpoint in session.execute(statement)]
