"""Parts of the callback that could not be stored: kept as received, to be inspected and retried."""

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import delete, func, select
from sqlmodel import Session, col

from pytake.callback.tables import SetAside
from pytake.database.upsert import insert_into

MAX_BYTES: Final = 64 * 1024
"""Most bytes kept of a part; a text message has at most about 5 KB. Longer ones are truncated and cannot be
retried."""
MAX_ROWS: Final = 5_000
"""Most parts set aside; beyond that, requests are not acknowledged and Meta repeats them for 7 days."""


class FullError(Exception):
    """:data:`MAX_ROWS` parts are set aside."""


@dataclass(frozen=True, slots=True)
class Aside:
    """One status, message or other update, in its own envelope as Meta would have sent it."""

    tenant_id: str
    kind: str
    """``statuses``, ``messages``, or the field of another update."""
    envelope: dict[str, Any]
    reason: str
    account_id: str | None = None
    phone_number_id: str | None = None


def add(session: Session, parts: list[Aside], now: datetime) -> None:
    """Set parts aside, each only once.

    Raises:
        FullError: there is no room for all of them; none is added.
    """
    rows = {}
    for part in parts:
        body = json.dumps(part.envelope, sort_keys=True).encode()
        key = hashlib.sha256(body).hexdigest()
        rows[key] = {
            "id": key,
            "tenant_id": part.tenant_id,
            "kind": part.kind[:100],
            "reason": part.reason[:200],
            "account_id": part.account_id,
            "phone_number_id": part.phone_number_id,
            "body": body[:MAX_BYTES].decode("ascii"),
            "size": len(body),
            "tries": 0,
            "received_at": now,
        }
    known = set(session.scalars(select(col(SetAside.id)).where(col(SetAside.id).in_(rows))))
    new = [rows[key] for key in sorted(rows) if key not in known]
    if new and count(session) + len(new) > MAX_ROWS:
        raise FullError
    if new:
        session.execute(insert_into(session, SetAside).on_conflict_do_nothing(), new)


def count(session: Session) -> int:
    """How many parts are set aside."""
    return session.scalars(select(func.count()).select_from(SetAside)).one()


def page(session: Session, limit: int, before: tuple[datetime, str] | None) -> list[SetAside]:
    """Parts set aside, newest first; ``before`` is a (received_at, id) to continue after."""
    statement = select(SetAside)
    if before:
        at, key = before
        statement = statement.where(
            (col(SetAside.received_at) < at)
            | ((col(SetAside.received_at) == at) & (col(SetAside.id) < key))
        )
    order = (col(SetAside.received_at).desc(), col(SetAside.id).desc())
    return list(session.scalars(statement.order_by(*order).limit(limit)))


def get(session: Session, key: str) -> SetAside | None:
    """One part."""
    return session.get(SetAside, key)


def still_fails(session: Session, key: str, reason: str, now: datetime) -> None:
    """Note a failed retry of a part."""
    row = session.get(SetAside, key, with_for_update=True)
    if row is not None:
        row.tries, row.tried_at, row.reason = row.tries + 1, now, reason[:200]
        session.add(row)


def remove(session: Session, key: str) -> int:
    """Remove a part; returns how many are left."""
    session.execute(delete(SetAside).where(col(SetAside.id) == key))
    return count(session)
