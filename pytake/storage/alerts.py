"""Alerts: what a person must know, each once while it is open."""

from datetime import datetime

from sqlalchemy import ColumnElement, select, update
from sqlmodel import Session, col

from pytake.domain.texts import say
from pytake.storage.tables import Alert


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

    ``detail`` is what its texts are about: alerts that differ in it are two.

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
            tenant_id=tenant_id, phone_number_id=phone_number_id, kind=kind, severity=severity,
            title=say(kind, "en", value=detail), advice=say(f"{kind}.advice", "en", value=detail),
            detail=detail, since=now,
        )
    )  # fmt: skip
    session.flush()
    return True


def end(
    session: Session,
    kinds: tuple[str, ...],
    now: datetime,
    *,
    phone_number_id: str | None = None,
    detail: str | None = None,
) -> None:
    """End open alerts of these kinds: those of a number, or those with a detail, or both."""
    conditions: list[ColumnElement[bool]] = [
        col(Alert.kind).in_(kinds),
        col(Alert.ended_at).is_(None),
    ]
    if phone_number_id is not None:
        conditions.append(col(Alert.phone_number_id) == phone_number_id)
    if detail is not None:
        conditions.append(col(Alert.detail) == detail)
    session.execute(update(Alert).where(*conditions).values(ended_at=now))
