"""Callback updates in the database."""

from datetime import datetime

from sqlalchemy import select
from sqlmodel import Session, col

from pytake.callback.owners import Owners
from pytake.callback.parse import Update
from pytake.callback.tables import CallbackUpdate
from pytake.database.upsert import insert_into


def store_updates(
    session: Session, updates: list[Update], owners: Owners, now: datetime
) -> set[str]:
    """Store updates, each only once; returns the ids of the new ones."""
    rows = {
        item.id: {
            "id": item.id,
            "tenant_id": owners.of(item),
            "field": item.field[:100],
            "problem": item.problem,
            "payload": item.payload,
            "account_id": item.origin.account,
            "sent_at": item.origin.sent_at,
            "received_at": now,
        }
        for item in updates
    }
    if not rows:
        return set()
    inserted = session.execute(
        insert_into(session, CallbackUpdate).on_conflict_do_nothing().returning(CallbackUpdate.id),
        [rows[key] for key in sorted(rows)],
    )
    return set(inserted.scalars())


def list_updates(
    session: Session,
    tenant_id: str | None,
    problems_only: bool,
    limit: int,
    before: tuple[datetime, str] | None,
) -> list[CallbackUpdate]:
    """Stored updates, newest first; ``before`` is a (received_at, id) to continue after."""
    statement = select(CallbackUpdate)
    if tenant_id is not None:
        statement = statement.where(col(CallbackUpdate.tenant_id) == tenant_id)
    if problems_only:
        statement = statement.where(col(CallbackUpdate.problem).is_not(None))
    if before:
        at, update_id = before
        statement = statement.where(
            (col(CallbackUpdate.received_at) < at)
            | ((col(CallbackUpdate.received_at) == at) & (col(CallbackUpdate.id) < update_id))
        )
    order = (col(CallbackUpdate.received_at).desc(), col(CallbackUpdate.id).desc())
    return list(session.scalars(statement.order_by(*order).limit(limit)))
