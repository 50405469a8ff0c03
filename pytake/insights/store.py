"""Stores what Meta reports: snapshots, the changes between them, daily counts, templates."""

from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import delete, func, select
from sqlmodel import Session, col

from pytake.database.upsert import insert_into
from pytake.insights.tables import MetaDay, MetaTemplateDay, NumberChange, NumberSnapshot
from pytake.numbers import alerts
from pytake.numbers import store as numbers
from pytake.numbers.tables import Alert, PhoneNumber
from pytake.templates.tables import MetaTemplate
from pytake.webhooks.contracts import DeliveryInput
from pytake.webhooks.event_types import EventType, NumberEvent
from pytake.webhooks.events import NewEvent, emit
from pytake.whatsapp.counts import Day, Template
from pytake.whatsapp.limits import parse_tier
from pytake.whatsapp.number_health import NumberHealth

_WATCHED = ("quality_rating", "messaging_limit", "status", "can_send_message")
_ALERTS = {
    "quality_rating": {"YELLOW": ("quality_yellow", "warning"), "RED": ("quality_red", "critical")},
    "can_send_message": {"LIMITED": ("sending", "warning"), "BLOCKED": ("sending", "critical")},
}
"""Field -> value -> (kind of alert, severity)."""


def get(session: Session, phone_number_id: str) -> NumberSnapshot | None:
    """The last snapshot of a number."""
    return session.get(NumberSnapshot, phone_number_id)


def save(
    session: Session, phone_number_id: str, health: NumberHealth, now: datetime
) -> tuple[list[DeliveryInput], bool]:
    """Store a number's fields; emit events and raise alerts for changes.

    Returns:
        Events to dispatch, and whether the messaging limit changed.
    """
    number = session.get(PhoneNumber, phone_number_id)
    if number is None:  # removed while Meta was asked
        return [], False
    row = _row(session, number, now)
    before = row.health
    row.body = health.model_dump(mode="json")
    row.fetched_at = row.attempted_at = now
    row.problem = row.blocked_until = None
    session.add(row)
    raised: list[DeliveryInput] = []
    for name in _WATCHED:
        old = getattr(before, name) if before else None
        new = getattr(health, name)
        if new is None or new == old:
            continue
        session.add(
            NumberChange(
                tenant_id=number.tenant_id,
                phone_number_id=number.id,
                at=now,
                field=name,
                before=old,
                after=new,
            )
        )
        if before is not None and name != "messaging_limit":
            raised += _emit(session, number, EventType.NUMBER_QUALITY_CHANGED, name, old, new, now)
    _alerts(session, number, health, now)
    limit_before = _save_limit(session, number, health)
    if limit_before is not None:
        after = number.effective_tier
        raised += _emit(
            session,
            number,
            EventType.NUMBER_LIMIT_CHANGED,
            "messaging_limit",
            limit_before,
            after,
            now,
        )
    return raised, limit_before is not None


def save_failure(
    session: Session,
    phone_number_id: str,
    problem: dict[str, Any],
    now: datetime,
    blocked_until: datetime | None = None,
) -> None:
    """Record that Meta could not be asked; the last snapshot stays."""
    number = session.get(PhoneNumber, phone_number_id)
    if number is None:
        return
    row = _row(session, number, now)
    row.attempted_at, row.problem, row.blocked_until = now, problem, blocked_until
    session.add(row)


def save_days(session: Session, phone_number_id: str, days: dict[date, Day], now: datetime) -> None:
    """Store Meta's daily counts; a later answer about a day replaces an earlier one."""
    number = session.get(PhoneNumber, phone_number_id)
    if number is None:
        return
    for day, counts in sorted(days.items()):
        values = {
            "tenant_id": number.tenant_id,
            "sent": counts.sent,
            "delivered": counts.delivered,
            "categories": {k: list(v) for k, v in counts.categories.items()},
            "fetched_at": now,
        }
        statement = insert_into(session, MetaDay).values(
            phone_number_id=phone_number_id, day=day, **values
        )
        session.execute(
            statement.on_conflict_do_update(index_elements=["phone_number_id", "day"], set_=values)
        )
    row = _row(session, number, now)
    row.days_fetched_at = now
    session.add(row)


def save_templates(
    session: Session, portfolio_id: str, tenant_id: str, templates: list[Template], now: datetime
) -> None:
    """Replace an account's templates with those that Meta lists."""
    session.execute(delete(MetaTemplate).where(col(MetaTemplate.portfolio_id) == portfolio_id))
    for template in {(t.name, t.language): t for t in templates}.values():
        session.add(
            MetaTemplate(
                portfolio_id=portfolio_id,
                name=template.name,
                language=template.language,
                tenant_id=tenant_id,
                template_id=template.id,
                category=template.category,
                status=template.status,
                quality=template.quality,
                known_at=now,
            )
        )


def save_template_days(
    session: Session,
    portfolio_id: str,
    tenant_id: str,
    counts: dict[tuple[str, date], dict[str, int]],
    now: datetime,
) -> None:
    """Store Meta's counts of templates, because Meta drops read and click counts after 7 days."""
    for (template_id, day), values in sorted(counts.items()):
        known = MetaTemplateDay
        statement = insert_into(session, known).values(
            portfolio_id=portfolio_id,
            template_id=template_id,
            day=day,
            tenant_id=tenant_id,
            fetched_at=now,
            **values,
        )
        new = statement.excluded
        # Counts only grow; a later answer may have forgotten reads and clicks.
        greatest = func.max if session.get_bind().dialect.name == "sqlite" else func.greatest
        session.execute(
            statement.on_conflict_do_update(
                index_elements=["portfolio_id", "template_id", "day"],
                set_={name: greatest(getattr(known, name), new[name]) for name in values}
                | {"fetched_at": now},
            )
        )


def templates_of(session: Session, portfolio_id: str) -> list[MetaTemplate]:
    """An account's templates."""
    return list(
        session.scalars(
            select(MetaTemplate)
            .where(col(MetaTemplate.portfolio_id) == portfolio_id)
            .order_by(col(MetaTemplate.name), col(MetaTemplate.language))
        )
    )


def template_days(
    session: Session, portfolio_id: str, first: date, last: date
) -> dict[str, dict[str, int]]:
    """Meta's counts by template id over days."""
    table = MetaTemplateDay
    rows = session.execute(
        select(
            col(table.template_id),
            func.sum(table.sent),
            func.sum(table.delivered),
            func.sum(table.read),
            func.sum(table.clicked),
        )
        .where(
            col(table.portfolio_id) == portfolio_id, col(table.day) >= first, col(table.day) <= last
        )
        .group_by(col(table.template_id))
    )
    return {
        template: {"sent": sent, "delivered": delivered, "read": read, "clicked": clicked}
        for template, sent, delivered, read, clicked in rows
    }


def days_of(session: Session, phone_number_id: str, first: date, last: date) -> list[MetaDay]:
    """Meta's counts of a number's days."""
    return list(
        session.scalars(
            select(MetaDay)
            .where(
                col(MetaDay.phone_number_id) == phone_number_id,
                col(MetaDay.day) >= first,
                col(MetaDay.day) <= last,
            )
            .order_by(col(MetaDay.day))
        )
    )


def changes(session: Session, phone_number_id: str, limit: int = 50) -> list[NumberChange]:
    """Changes of a number, newest first."""
    return list(
        session.scalars(
            select(NumberChange)
            .where(col(NumberChange.phone_number_id) == phone_number_id)
            .order_by(col(NumberChange.at).desc(), col(NumberChange.id).desc())
            .limit(limit)
        )
    )


def _row(session: Session, number: PhoneNumber, now: datetime) -> NumberSnapshot:
    return session.get(NumberSnapshot, number.id, with_for_update=True) or NumberSnapshot(
        phone_number_id=number.id, tenant_id=number.tenant_id, attempted_at=now
    )


def _save_limit(session: Session, number: PhoneNumber, health: NumberHealth) -> str | None:
    """Store the limit that Meta reports; return the previous one if it differs."""
    if health.messaging_limit is None:
        return None
    try:
        parse_tier(health.messaging_limit)
    except ValueError:
        return None
    return numbers.report_tier(session, number.id, number.portfolio_id, health.messaging_limit)


def _alerts(session: Session, number: PhoneNumber, health: NumberHealth, now: datetime) -> None:
    """Raise the alerts that the fields call for, and end those that no longer apply."""
    wanted: dict[str, tuple[str, str]] = {}
    for name, kinds in _ALERTS.items():
        value = getattr(health, name)
        if value in kinds:
            kind, severity = kinds[value]
            wanted[kind] = (severity, value)
    if health.status not in ("CONNECTED", "UNKNOWN"):
        wanted["status"] = ("critical", health.status)
    kinds_known = {"status"} | {kind for kinds in _ALERTS.values() for kind, _ in kinds.values()}
    open_now = session.scalars(
        select(Alert).where(
            col(Alert.phone_number_id) == number.id,
            col(Alert.kind).in_(kinds_known),
            col(Alert.ended_at).is_(None),
        )
    ).all()
    for alert in open_now:
        if wanted.get(alert.kind) == (alert.severity, alert.detail):
            del wanted[alert.kind]
        else:
            alert.ended_at = now
            session.add(alert)
    for kind, (severity, value) in wanted.items():
        alerts.raise_once(
            session,
            number.tenant_id,
            kind,
            now,
            severity=severity,
            phone_number_id=number.id,
            detail=value,
        )


def _emit(
    session: Session,
    number: PhoneNumber,
    kind: EventType,
    what: str,
    before: str | None,
    after: str | None,
    now: datetime,
) -> list[DeliveryInput]:
    data = NumberEvent(
        phone_number_id=number.id,
        at=now,
        state=number.state,
        reason=what,
        before=before,
        after=after,
    )
    key = f"{number.id}:{what}:{after}:{now.isoformat()}"
    return emit(
        session,
        [NewEvent(number.tenant_id, kind.value, key, data.model_dump(mode="json"), now)],
        now,
    )


def stale_after(interval: timedelta) -> timedelta:
    """The age at which a snapshot counts as stale: two were missed."""
    return 2 * interval + timedelta(seconds=30)
