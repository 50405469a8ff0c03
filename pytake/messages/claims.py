"""Claims: the first attempt at a message is made only once, whatever Temporal replays.

A workflow task that sends may run again at any time, and a Temporal server restored from a backup
knows nothing of what was sent since. The database does.
"""

import json
from datetime import datetime
from typing import Final

from sqlalchemy import delete, select, text
from sqlmodel import Session, col

from pytake.database.types import iso
from pytake.database.upsert import insert_into
from pytake.messages.tables import SendClaim

# ruff: noqa: S608 - built from constants of this module only
_REST: Final = (
    "WHERE NOT EXISTS (SELECT 1 FROM message WHERE id = value ->> 0 AND recorded) "
    "ON CONFLICT DO NOTHING RETURNING message_id"
)
_CLAIM_SQLITE: Final = text(
    "INSERT INTO send_claim (message_id, tenant_id, claimed_at) "
    "SELECT value ->> 0, value ->> 1, :now FROM json_each(:claims) " + _REST
)
_CLAIM_POSTGRES: Final = text(
    "INSERT INTO send_claim (message_id, tenant_id, claimed_at) "
    "SELECT value ->> 0, value ->> 1, CAST(:now AS timestamptz) "
    "FROM jsonb_array_elements(CAST(:claims AS jsonb)) " + _REST
)


def claim(session: Session, claims: list[tuple[str, str]], now: datetime) -> dict[str, datetime]:
    """Claim messages, given as (id, tenant).

    Returns:
        Those that could not be claimed, each with the time of the existing claim (``now`` if the
        outcome is already recorded, which removes the claim).
    """
    if not claims:
        return {}
    postgres = session.get_bind().dialect.name == "postgresql"
    statement = _CLAIM_POSTGRES if postgres else _CLAIM_SQLITE
    made = session.scalars(statement, {"claims": json.dumps(sorted(claims)), "now": iso(now)}).all()
    missed = {message_id for message_id, _ in claims} - set(made)
    if not missed:
        return {}
    rows = session.scalars(select(SendClaim).where(col(SendClaim.message_id).in_(missed)))
    return dict.fromkeys(missed, now) | {row.message_id: row.claimed_at for row in rows}


def begin(session: Session, attempts: list[tuple[str, str]], now: datetime) -> None:
    """Note that further attempts at messages, given as (id, tenant), are starting: if the worker is lost,
    this is the only trace of the attempt.
    """
    if not attempts:
        return
    statement = insert_into(session, SendClaim).values(
        [
            {"message_id": message_id, "tenant_id": tenant_id, "claimed_at": now}
            for message_id, tenant_id in sorted(set(attempts))
        ]
    )
    session.execute(
        statement.on_conflict_do_update(
            index_elements=["message_id"], set_={"claimed_at": statement.excluded.claimed_at}
        )
    )


def release(session: Session, message_ids: list[str]) -> None:
    """Remove the claims of messages whose outcome is recorded."""
    if message_ids:
        session.execute(delete(SendClaim).where(col(SendClaim.message_id).in_(message_ids)))
