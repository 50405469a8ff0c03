"""Updates of Meta's callback in the database, and whose they are."""

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import select
from sqlmodel import Session, col

from pytake.callback.tables import CallbackUpdate
from pytake.database.upsert import insert_into
from pytake.numbers.tables import PhoneNumber

UNASSIGNED: Final = "*"
"""The tenant of what came for a number or an account that is nobody's here: only admins see it."""


@dataclass(frozen=True, slots=True)
class Update:
    """Anything else: any other field, or something that could not be read."""

    tenant_id: str
    field: str
    payload: Any
    problem: str | None = None
    phone_number_id: str | None = None
    account_id: str | None = None
    time: str | None = None
    """``entry.time`` as Meta wrote it; ``sent_at`` is the same as a time."""
    sent_at: datetime | None = None

    @property
    def id(self) -> str:
        """A hash of what makes it one update: a repeat of Meta's request has the same."""
        whole = [self.account_id, self.time, self.phone_number_id, self.field, self.payload]
        return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()

    def key(self, at: datetime) -> str:
        """What makes an event of it one event: without Meta's time, equal updates of an hour are one."""
        return self.id if self.time is not None else f"{self.id}:{at:%Y-%m-%dT%H}"


def owners(session: Session, phone_number_ids: set[str]) -> dict[str, str]:
    """The tenant of each number that is registered."""
    rows = session.execute(
        select(col(PhoneNumber.id), col(PhoneNumber.tenant_id)).where(
            col(PhoneNumber.id).in_(phone_number_ids)
        )
    )
    return {str(number): str(tenant) for number, tenant in rows}


def store_updates(session: Session, updates: list[Update], now: datetime) -> set[str]:
    """Keep other updates, each once; the ids of those that were not known yet."""
    rows = {
        item.id: {
            "id": item.id,
            "tenant_id": item.tenant_id,
            "field": item.field[:100],
            "problem": item.problem,
            "payload": item.payload,
            "account_id": item.account_id,
            "sent_at": item.sent_at,
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
    """Stored updates, newest first, ``before`` a (received_at, id) exclusive."""
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
