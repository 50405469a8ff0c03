"""Raising events: an outbox in the transaction of what happened, dispatched after its commit."""

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
    """An event about to be raised; a repeat with the same ``key`` is the same event."""

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
    """The id of a delivery, derived from both: a repeat is the same one."""
    return "dlv_" + _digest(event_id, endpoint_id)


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


class FanOutError(Exception):
    """An event is too large for as many endpoints as subscribe to it; the text says by how much."""


def emit(
    session: Session,
    events: list[NewEvent],
    now: datetime,
    only: str | None = None,
    most_bytes: int = 0,
) -> list[DeliveryInput]:
    """Store the events that somebody subscribes to, with their deliveries.

    Call it in the transaction of what happened; start what it returns after the commit. ``only``
    restricts the deliveries to one endpoint.

    Raises:
        FanOutError: the body of one, times its endpoints, has more than ``most_bytes``; 0 is no limit,
            as for all that PyTake tells by itself.
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
    """What the delivery's workflow is started with."""
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


def dispatched(session: Session, delivery_ids: list[str], now: datetime) -> None:
    """Note that the workflows of deliveries were started."""
    session.execute(
        update(WebhookDelivery)
        .where(col(WebhookDelivery.id).in_(delivery_ids))
        .values(dispatched_at=now)
    )


def undispatched(
    session: Session, now: datetime, skip: int = 0, limit: int = 200
) -> list[DeliveryInput]:
    """Deliveries that a crash left between the commit of their event and the start of a workflow."""
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
