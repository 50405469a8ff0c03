"""Alerts: conditions that a person must know about, each raised once while it is open."""

from datetime import datetime

from sqlalchemy import ColumnElement, select, update
from sqlmodel import Session, col

from pytake.numbers.tables import Alert
from pytake.texts import say


def raise_once(
    session: Session,
    tenant_id: str,
    kind: str,
    now: datetime,
    *,
    severity: str = "critical",
    phone_number_id: str | None = None,
    detail: str = "",
) -> bool:
    """Open an alert unless the same one is open; its texts are those of ``kind`` in ``texts``.

    ``detail`` is the subject of its texts: alerts with different details are different alerts.

    Returns:
        Whether it is new.
    """
    same = select(col(Alert.id)).where(
        col(Alert.tenant_id) == tenant_id,
        col(Alert.kind) == kind,
        col(Alert.detail) == detail,
        col(Alert.phone_number_id).is_not_distinct_from(phone_number_id),
        col(Alert.ended_at).is_(None),
    )
    if session.scalars(same.limit(1)).first() is not None:
        return False
    session.add(
        Alert(
            tenant_id=tenant_id,
            phone_number_id=phone_number_id,
            kind=kind,
            severity=severity,
            title=say(kind, "en", value=detail),
            advice=say(f"{kind}.advice", "en", value=detail),
            detail=detail,
            since=now,
        )
    )
    session.flush()
    return True


def end(
    session: Session,
    kinds: tuple[str, ...],
    now: datetime,
    *,
    phone_number_id: str | None = None,
    subject: str = "",
    tenants: set[str] | None = None,
    not_after: datetime | None = None,
) -> None:
    """End the open alerts of these kinds.

    Each filter narrows them further: ``subject`` is a prefix of ``detail``, ``not_after`` the latest
    ``since``.
    """
    conditions: list[ColumnElement[bool]] = [
        col(Alert.kind).in_(kinds),
        col(Alert.ended_at).is_(None),
    ]
    if phone_number_id is not None:
        conditions.append(col(Alert.phone_number_id) == phone_number_id)
    if subject:
        conditions.append(col(Alert.detail).startswith(subject, autoescape=True))
    if tenants is not None:
        conditions.append(col(Alert.tenant_id).in_(tenants))
    if not_after is not None:
        conditions.append(col(Alert.since) <= not_after)
    session.execute(update(Alert).where(*conditions).values(ended_at=now))


def dismiss(session: Session, alert_id: int, tenant_id: str | None, now: datetime) -> bool:
    """End one alert of a tenant (``None``: of any tenant) by hand.

    Returns:
        Whether the alert exists.
    """
    alert = session.get(Alert, alert_id)
    if alert is None or tenant_id not in (None, alert.tenant_id):
        return False
    alert.ended_at = alert.ended_at or now
    session.add(alert)
    return True
