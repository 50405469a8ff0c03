"""PyTake's own counts, from the messages it recorded.

A message counts once, on the day Meta accepted it (or on which it was given up), so that delivered
and read never exceed sent, and all rates refer to the same set of messages.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Float, Select, and_, case, cast, extract, func, or_, select
from sqlmodel import Session, col

from pytake.contacts.tables import OptOut
from pytake.conversations.tables import InboundMessage
from pytake.messages.status import DEAD_LETTERS
from pytake.messages.tables import Message
from pytake.numbers import owners as number_owners
from pytake.numbers.store import daily_limit
from pytake.numbers.tables import PhoneNumber, WindowEntry
from pytake.whatsapp.limits import TIER_WINDOW

_FAILED = [status.value for status in DEAD_LETTERS]


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose messages: a tenant's (``None``: all), of one number (``None``: all)."""

    tenant_id: str | None
    phone_number_id: str | None = None


@dataclass(slots=True)
class Counts:
    """Messages by stage; each stage includes the later ones."""

    sent: int = 0
    delivered: int = 0
    read: int = 0
    failed: int = 0
    tried: int = 0
    """Sent or failed; a message that Meta accepted and that failed later is counted in both."""
    received: int = 0


@dataclass(frozen=True, slots=True)
class Durations:
    """Seconds since acceptance, over the messages that reached the stage; ``None`` if none did."""

    median: float | None
    p95: float | None


def counts(session: Session, scope: Scope, edges: list[datetime]) -> list[Counts]:
    """Counts of each period between two neighbours of ``edges``."""
    found = [Counts() for _ in edges[1:]]
    at = func.coalesce(Message.accepted_at, Message.failed_at)
    bucket = _bucket(at, edges)
    statement = (
        select(bucket, *_stages())
        .where(*_in_scope(scope, Message), _within(edges[0], edges[-1]))
        .group_by(bucket)
    )
    for index, *stages in session.execute(statement):
        if index is not None:
            found[index] = Counts(*stages)
    received = _bucket(col(InboundMessage.received_at), edges)
    statement = (
        select(received, func.count())
        .where(
            *_in_scope(scope, InboundMessage),
            col(InboundMessage.received_at) >= edges[0],
            col(InboundMessage.received_at) < edges[-1],
        )
        .group_by(received)
    )
    for index, count in session.execute(statement):
        if index is not None:
            found[index].received = count
    return found


def total(session: Session, scope: Scope, start: datetime, end: datetime) -> Counts:
    """Counts of one period."""
    return counts(session, scope, [start, end])[0]


def by_template(
    session: Session, scope: Scope, start: datetime, end: datetime, limit: int = 10
) -> list[tuple[str, Counts]]:
    """The most frequently sent templates with their counts, most frequent first."""
    name = Message.content["name"].as_string()  # type: ignore[index]
    stages = _stages()
    statement = (
        select(name, *stages)
        .where(
            *_in_scope(scope, Message), _within(start, end), col(Message.message_type) == "template"
        )
        .group_by(name)
        .order_by(stages[0].desc(), name)
        .limit(limit)
    )
    return [(str(template), Counts(*counted)) for template, *counted in session.execute(statement)]


def by_category(session: Session, scope: Scope, start: datetime, end: datetime) -> dict[str, int]:
    """Delivered messages by the category that Meta's receipts name."""
    category = func.upper(Message.pricing_category)
    statement = (
        select(category, func.count())
        .where(
            *_in_scope(scope, Message),
            _within(start, end),
            col(Message.pricing_category).is_not(None),
            or_(col(Message.delivered_at).is_not(None), col(Message.read_at).is_not(None)),
        )
        .group_by(category)
    )
    return {str(name): count for name, count in session.execute(statement)}


def failures(
    session: Session, scope: Scope, start: datetime, end: datetime
) -> list[tuple[int | None, str, int]]:
    """Code, title and count of the failures, most frequent first."""
    statement = (
        select(col(Message.error_code), func.min(Message.error_title), func.count())
        .where(*_in_scope(scope, Message), _within(start, end), col(Message.status).in_(_FAILED))
        .group_by(col(Message.error_code))
        .order_by(func.count().desc(), col(Message.error_code))
    )
    return [(code, title or "", count) for code, title, count in session.execute(statement)]


def durations(
    session: Session, scope: Scope, start: datetime, end: datetime, until: str
) -> Durations:
    """Median and 95th percentile (nearest rank) of the time to ``delivered_at`` or ``read_at``."""
    reached = getattr(Message, until)
    seconds = _seconds_between(session, Message.accepted_at, reached)
    where = and_(
        *_in_scope(scope, Message),
        _within(start, end),
        reached.is_not(None),
        col(Message.accepted_at).is_not(None),
    )
    number = session.scalars(select(func.count()).select_from(Message).where(where)).one()
    if number == 0:
        return Durations(None, None)

    def rank(share: float) -> float:
        offset = min(number - 1, max(0, -int(-share * number // 1) - 1))
        value = session.scalars(
            select(seconds).where(where).order_by(seconds).offset(offset).limit(1)
        ).one()
        return round(max(0.0, float(value)), 3)

    return Durations(rank(0.5), rank(0.95))


def opt_outs(session: Session, tenant_id: str | None, start: datetime) -> int:
    """Contacts who have opted out since ``start``, and have not opted in again."""
    statement = select(func.count()).select_from(OptOut).where(col(OptOut.at) >= start)
    if tenant_id is not None:
        statement = statement.where(col(OptOut.tenant_id) == tenant_id)
    return session.scalars(statement).one()


def reached_contacts(session: Session, scope: Scope, start: datetime) -> int:
    """Distinct contacts who were sent templates since ``start``: what raises the messaging limit."""
    statement = select(func.count(func.distinct(Message.contact_key))).where(
        *_in_scope(scope, Message),
        col(Message.message_type) == "template",
        or_(col(Message.delivered_at).is_not(None), col(Message.read_at).is_not(None)),
        col(Message.accepted_at) >= start,
    )
    return session.scalars(statement).one()


@dataclass(frozen=True, slots=True)
class WindowUse:
    """How much of a number's messaging limit is used."""

    limit: int | None
    """Unique recipients per rolling 24 hours; ``None`` is unlimited."""
    used: int
    frees_at: datetime | None
    """When the first counted recipient leaves the window."""

    @property
    def remaining(self) -> int | None:
        """Recipients that may be added now; ``None`` is unlimited."""
        return None if self.limit is None else max(self.limit - self.used, 0)


def window_use(
    session: Session, number: PhoneNumber, now: datetime, tenant_id: str | None = None
) -> WindowUse:
    """Recipients counted in the rolling window, and how many the number's tier allows.

    With ``tenant_id``, as that tenant may see it: if others send from the portfolio too, it sees only an
    upper bound of its own use, as the total would reveal, message by message, whom the others write to.
    """
    since = now - TIER_WINDOW
    counted: Select[Any]
    if tenant_id is None or number_owners.is_only_tenant(
        session, tenant_id, PhoneNumber.portfolio_id, number.portfolio_id
    ):
        counted = select(col(WindowEntry.last_at).label("last_at")).where(
            col(WindowEntry.portfolio_id) == number.portfolio_id, col(WindowEntry.last_at) > since
        )
    else:
        counted = (
            select(func.max(Message.accepted_at).label("last_at"))
            .join(PhoneNumber, col(PhoneNumber.id) == col(Message.phone_number_id))
            .where(
                col(PhoneNumber.portfolio_id) == number.portfolio_id,
                col(Message.tenant_id) == tenant_id,
                col(Message.message_type) == "template",
                col(Message.accepted_at) > since,
            )
            .group_by(col(Message.contact_key))
        )
    found = counted.subquery()
    used, oldest = session.execute(select(func.count(), func.min(found.c.last_at))).one()
    frees_at = oldest + TIER_WINDOW if oldest else None
    return WindowUse(daily_limit(number), used, frees_at)


def rate_over_last_minute(session: Session, scope: Scope, now: datetime) -> float:
    """Messages per second that Meta accepted, averaged over the last minute."""
    statement = select(func.count()).where(
        *_in_scope(scope, Message), col(Message.accepted_at) > now - timedelta(minutes=1)
    )
    return round(session.scalars(statement).one() / 60, 2)


def _stages() -> tuple[ColumnElement[int], ...]:
    read = or_(col(Message.read_at).is_not(None), col(Message.played_at).is_not(None))
    conditions = (
        col(Message.accepted_at).is_not(None),
        or_(col(Message.delivered_at).is_not(None), read),
        read,
        col(Message.status).in_(_FAILED),
        or_(col(Message.accepted_at).is_not(None), col(Message.status).in_(_FAILED)),
    )
    return tuple(func.sum(case((condition, 1), else_=0)) for condition in conditions)


def _within(start: datetime, end: datetime) -> ColumnElement[bool]:
    """Messages of a period, as a condition that uses the indexes."""
    accepted, failed = col(Message.accepted_at), col(Message.failed_at)
    return and_(
        col(Message.recorded).is_(True),
        or_(
            and_(accepted >= start, accepted < end),
            and_(accepted.is_(None), failed >= start, failed < end),
        ),
    )


def _in_scope(scope: Scope, table: Any) -> list[ColumnElement[bool]]:
    where: list[ColumnElement[bool]] = []
    if scope.tenant_id is not None:
        where.append(col(table.tenant_id) == scope.tenant_id)
    if scope.phone_number_id is not None:
        where.append(col(table.phone_number_id) == scope.phone_number_id)
    return where


def _bucket(at: Any, edges: list[datetime]) -> ColumnElement[Any]:
    """The index of the period a moment is in."""
    return case(
        (at < edges[0], None), *((at < edge, index) for index, edge in enumerate(edges[1:]))
    )


def _seconds_between(session: Session, start: Any, end: Any) -> ColumnElement[float]:
    if session.get_bind().dialect.name == "postgresql":
        return cast(extract("epoch", end) - extract("epoch", start), Float)
    return (func.julianday(end) - func.julianday(start)) * 86400.0


def edges_of(start: datetime, end: datetime, step: timedelta) -> list[datetime]:
    """``start``, then every step, then ``end``."""
    edges = [start]
    while edges[-1] + step < end:
        edges.append(edges[-1] + step)
    return [*edges, end]
