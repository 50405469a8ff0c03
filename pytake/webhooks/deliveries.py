"""Deliveries of events to endpoints: state, attempts, statistics and replays."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, func, select, update
from sqlmodel import Session, col

from pytake.database.upsert import insert_into
from pytake.webhooks import endpoints
from pytake.webhooks.contracts import DeliveryInput
from pytake.webhooks.event_types import EventType
from pytake.webhooks.events import NewEvent, delivery_input, emit
from pytake.webhooks.policies import DeliveryStatus, give_up
from pytake.webhooks.tables import (
    WebhookAttempt,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookEvent,
    WebhookReplay,
)


@dataclass(frozen=True, slots=True)
class Loaded:
    """Everything an attempt needs."""

    delivery: WebhookDelivery
    event: WebhookEvent
    endpoint: WebhookEndpoint | None
    waits_for: str | None
    """An earlier delivery of the conversation that is still pending, on an ordered endpoint."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """The outcome of one request."""

    attempt: int
    at: datetime
    ok: bool
    duration_ms: float
    status: int | None = None
    headers: dict[str, str] | None = None
    body: str | None = None
    error: str | None = None
    next_retry_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class DisableRule:
    """When a failing endpoint is disabled: after failing for this long *and* this many times."""

    after: timedelta
    failures: int


def load(session: Session, delivery_id: str) -> Loaded | None:
    """The delivery with its event and endpoint (``None`` when that was deleted)."""
    delivery = session.get(WebhookDelivery, delivery_id)
    event = session.get(WebhookEvent, delivery.event_id) if delivery else None
    if delivery is None or event is None:
        return None
    endpoint = endpoints.get(session, delivery.tenant_id, delivery.endpoint_id)
    waits_for = None
    if endpoint is not None and endpoint.ordered and delivery.conversation:
        waits_for = session.scalars(
            select(col(WebhookDelivery.id)).where(
                *_same_conversation(delivery),
                col(WebhookDelivery.sequence) < delivery.sequence,
                col(WebhookDelivery.status) == DeliveryStatus.PENDING.value,
            )
        ).first()
    return Loaded(delivery, event, endpoint, waits_for)


def log_attempt(
    session: Session, delivery_id: str, attempt: Attempt, rule: DisableRule
) -> list[DeliveryInput]:
    """Log an attempt and update the delivery and its endpoint, which may get disabled.

    Returns:
        The deliveries of ``webhook.disabled``, if the endpoint was disabled.
    """
    delivery = session.get_one(WebhookDelivery, delivery_id, with_for_update=True)
    session.execute(
        insert_into(session, WebhookAttempt)
        .values(
            delivery_id=delivery.id,
            run=delivery.run,
            attempt=attempt.attempt,
            tenant_id=delivery.tenant_id,
            endpoint_id=delivery.endpoint_id,
            at=attempt.at,
            ok=attempt.ok,
            duration_ms=attempt.duration_ms,
            status=attempt.status,
            headers=attempt.headers,
            body=attempt.body,
            error=attempt.error,
        )
        .on_conflict_do_nothing()
    )
    delivery.attempts = attempt.attempt
    delivery.last_status, delivery.last_error = attempt.status, attempt.error
    delivery.next_retry_at = attempt.next_retry_at
    delivery.dispatched_at = delivery.dispatched_at or attempt.at
    if attempt.ok:
        delivery.status, delivery.finished_at = DeliveryStatus.DELIVERED.value, attempt.at
    session.add(delivery)
    endpoint = endpoints.get(session, delivery.tenant_id, delivery.endpoint_id, lock=True)
    if endpoint is None:
        return []
    if attempt.ok:
        endpoint.failures, endpoint.failing_since = 0, None
        endpoint.last_success_at = attempt.at
    else:
        endpoint.failures += 1
        endpoint.failing_since = endpoint.failing_since or attempt.at
        endpoint.last_failure_at = attempt.at
    session.add(endpoint)
    if attempt.status == 410:
        return disable(session, endpoint, "answered 410 Gone", attempt.at)
    if give_up(endpoint.failing_since, endpoint.failures, attempt.at, rule.after, rule.failures):
        return disable(
            session,
            endpoint,
            f"failing since {endpoint.failing_since:%Y-%m-%d %H:%M} UTC, {endpoint.failures} attempts in a row",
            attempt.at,
        )
    return []


def disable(
    session: Session, endpoint: WebhookEndpoint, reason: str, at: datetime
) -> list[DeliveryInput]:
    """Disable an endpoint and raise ``webhook.disabled``, unless it is disabled already."""
    if not endpoint.active:
        return []
    endpoint.active, endpoint.disabled_reason, endpoint.disabled_at = False, reason, at
    session.add(endpoint)
    session.flush()
    event = NewEvent(
        tenant_id=endpoint.tenant_id,
        type=EventType.WEBHOOK_DISABLED.value,
        key=f"{endpoint.id}:{at.isoformat()}",
        data={
            "endpoint_id": endpoint.id,
            "url": endpoint.url,
            "reason": reason,
            "at": at.isoformat(),
        },
        at=at,
    )
    return emit(session, [event], at)


def finish(
    session: Session,
    delivery_id: str,
    run: int,
    status: DeliveryStatus,
    at: datetime,
    error: str | None = None,
) -> str | None:
    """End a delivery; returns the workflow id of the next one in its conversation, which may now go."""
    delivery = session.get(WebhookDelivery, delivery_id, with_for_update=True)
    if delivery is None or delivery.run != run:
        return None
    if delivery.status == DeliveryStatus.PENDING.value:
        delivery.status, delivery.finished_at, delivery.next_retry_at = status.value, at, None
        delivery.last_error = error or delivery.last_error
        session.add(delivery)
        session.flush()
    return successor(session, delivery)


def successor(session: Session, delivery: WebhookDelivery) -> str | None:
    """The workflow id of the next pending delivery in the conversation."""
    if not delivery.conversation:
        return None
    following = session.scalars(
        select(WebhookDelivery)
        .where(
            *_same_conversation(delivery),
            col(WebhookDelivery.sequence) > delivery.sequence,
            col(WebhookDelivery.status) == DeliveryStatus.PENDING.value,
        )
        .order_by(col(WebhookDelivery.sequence))
        .limit(1)
    ).first()
    return following.workflow_id if following else None


def _same_conversation(delivery: WebhookDelivery) -> list[ColumnElement[bool]]:
    """Conditions for deliveries of the same conversation to the same endpoint."""
    return [
        col(WebhookDelivery.endpoint_id) == delivery.endpoint_id,
        col(WebhookDelivery.tenant_id) == delivery.tenant_id,
        col(WebhookDelivery.conversation) == delivery.conversation,
    ]


@dataclass(frozen=True, slots=True)
class DeliveryFilter:
    """Filters of lists and replays; times are those of the event, ``until`` is exclusive."""

    tenant_id: str | None = None
    endpoint_id: str | None = None
    event_type: str | None = None
    statuses: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        """The filter as SQL conditions."""
        wanted: list[ColumnElement[bool]] = []
        for column, value in (
            (WebhookDelivery.tenant_id, self.tenant_id),
            (WebhookDelivery.endpoint_id, self.endpoint_id),
            (WebhookDelivery.event_type, self.event_type),
        ):
            if value is not None:
                wanted.append(col(column) == value)
        if self.statuses:
            wanted.append(col(WebhookDelivery.status).in_(self.statuses))
        if self.since:
            wanted.append(col(WebhookDelivery.created_at) >= self.since)
        if self.until:
            wanted.append(col(WebhookDelivery.created_at) < self.until)
        return wanted


def list_deliveries(
    session: Session, wanted: DeliveryFilter, limit: int, before: tuple[datetime, str] | None
) -> list[WebhookDelivery]:
    """Deliveries, newest first; ``before`` is a (created_at, id) to continue after."""
    conditions = wanted.conditions()
    if before:
        at, delivery_id = before
        conditions.append(
            (col(WebhookDelivery.created_at) < at)
            | ((col(WebhookDelivery.created_at) == at) & (col(WebhookDelivery.id) < delivery_id))
        )
    order = (col(WebhookDelivery.created_at).desc(), col(WebhookDelivery.id).desc())
    return list(
        session.scalars(select(WebhookDelivery).where(*conditions).order_by(*order).limit(limit))
    )


def count(session: Session, wanted: DeliveryFilter) -> int:
    """How many deliveries match a filter."""
    statement = select(func.count()).select_from(WebhookDelivery).where(*wanted.conditions())
    return session.scalars(statement).one()


def find(session: Session, some_id: str) -> list[WebhookDelivery]:
    """The delivery with an id, or the deliveries of the event with that id, oldest first."""
    statement = (
        select(WebhookDelivery)
        .where((col(WebhookDelivery.id) == some_id) | (col(WebhookDelivery.event_id) == some_id))
        .order_by(col(WebhookDelivery.created_at), col(WebhookDelivery.id))
    )
    return list(session.scalars(statement))


def attempts_of(session: Session, delivery_id: str) -> list[WebhookAttempt]:
    """Every attempt of a delivery, oldest first."""
    statement = (
        select(WebhookAttempt)
        .where(col(WebhookAttempt.delivery_id) == delivery_id)
        .order_by(col(WebhookAttempt.run), col(WebhookAttempt.attempt))
    )
    return list(session.scalars(statement))


def replay(session: Session, delivery_ids: Sequence[str], now: datetime) -> list[DeliveryInput]:
    """Start a new run, with all attempts, of each of these deliveries that is finished."""
    started = []
    for delivery_id in delivery_ids:
        delivery = session.get(WebhookDelivery, delivery_id, with_for_update=True)
        if delivery is None or delivery.status == DeliveryStatus.PENDING.value:
            continue
        endpoint = endpoints.get(session, delivery.tenant_id, delivery.endpoint_id)
        if endpoint is None:
            continue
        delivery.run += 1
        delivery.attempts = 0
        delivery.status, delivery.finished_at = DeliveryStatus.PENDING.value, None
        delivery.dispatched_at = delivery.next_retry_at = None
        session.add(delivery)
        started.append(delivery_input(delivery, endpoint))
    return started


REPLAYABLE = (DeliveryStatus.DEAD.value, DeliveryStatus.DISCARDED.value)


def replay_filter(row: WebhookReplay) -> DeliveryFilter:
    """The deliveries that a replay covers: those that were dead or discarded when it was created."""
    wanted = dict(row.wanted)
    until = wanted.get("until")
    limit = min(datetime.fromisoformat(until), row.created_at) if until else row.created_at
    since = wanted.get("since")
    return DeliveryFilter(
        tenant_id=wanted.get("tenant_id"),
        endpoint_id=wanted.get("endpoint_id"),
        event_type=wanted.get("event_type"),
        statuses=tuple(wanted.get("statuses") or REPLAYABLE),
        since=datetime.fromisoformat(since) if since else None,
        until=limit,
    )


def replay_some(
    session: Session, replay_id: str, limit: int, now: datetime
) -> tuple[list[DeliveryInput], bool]:
    """Replay the next deliveries of a replay; also returns whether it continues.

    Deliveries replayed earlier are skipped: they finished after the replay was created.
    """
    row = session.get_one(WebhookReplay, replay_id, with_for_update=True)
    if row.status != "running":
        return [], False
    conditions = [
        *replay_filter(row).conditions(),
        col(WebhookDelivery.finished_at) < row.created_at,
    ]
    ids = list(
        session.scalars(
            select(col(WebhookDelivery.id))
            .where(*conditions)
            .order_by(col(WebhookDelivery.created_at), col(WebhookDelivery.sequence))
            .limit(limit)
        )
    )
    started = replay(session, ids, now)
    row.done += len(started)
    if not started:
        row.status, row.finished_at = "finished", now
    session.add(row)
    return started, bool(started)


def running_replays(session: Session, before: datetime) -> list[str]:
    """Running replays created before ``before``."""
    statement = select(col(WebhookReplay.id)).where(
        col(WebhookReplay.status) == "running", col(WebhookReplay.created_at) < before
    )
    return list(session.scalars(statement))


def end_replay(session: Session, replay_id: str, status: str, now: datetime) -> None:
    """End a running replay early."""
    session.execute(
        update(WebhookReplay)
        .where(col(WebhookReplay.id) == replay_id, col(WebhookReplay.status) == "running")
        .values(status=status, finished_at=now)
    )


def figures(session: Session, tenant_id: str, endpoint_id: str, since: datetime) -> dict[str, Any]:
    """Statistics of an endpoint: deliveries ``by_status``, its ``attempts`` since then as (at, ok,
    duration_ms), and the number of ``failed_attempts``.
    """
    own = (
        col(WebhookAttempt.endpoint_id) == endpoint_id,
        col(WebhookAttempt.tenant_id) == tenant_id,
    )
    by_status = {
        str(status): int(number)
        for status, number in session.execute(
            select(col(WebhookDelivery.status), func.count())
            .where(
                col(WebhookDelivery.endpoint_id) == endpoint_id,
                col(WebhookDelivery.tenant_id) == tenant_id,
            )
            .group_by(col(WebhookDelivery.status))
        )
    }
    rows = session.execute(
        select(col(WebhookAttempt.at), col(WebhookAttempt.ok), col(WebhookAttempt.duration_ms))
        .where(*own, col(WebhookAttempt.at) >= since)
        .order_by(col(WebhookAttempt.at))
    ).all()
    failed = session.scalars(
        select(func.count())
        .select_from(WebhookAttempt)
        .where(*own, col(WebhookAttempt.ok).is_(False))
    ).one()
    return {"by_status": by_status, "attempts": rows, "failed_attempts": failed}
