"""Status webhooks: one bulk statement per request, forward-only and idempotent.

A receipt is matched to its message by ``biz_opaque_callback_data`` first and by wamid second. If it
arrives before our own record of the send, it creates the row, and the record fills it in.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from sqlalchemy import select, text
from sqlmodel import Session, col

from pytake.contacts.identities import contact_key
from pytake.database.types import iso
from pytake.messages.status import RANK, Observation, Receipt, advance
from pytake.messages.store import orphan_id
from pytake.messages.tables import Message
from pytake.tenants import UNASSIGNED

_TIMES: Final = {
    Observation.SENT: "sent_at",
    Observation.DELIVERED: "delivered_at",
    Observation.READ: "read_at",
    Observation.PLAYED: "played_at",
    Observation.FAILED: "failed_at",
}
_PRICING: Final = ("pricing_category", "pricing_type", "billable")
_ERROR: Final = ("error_code", "error_class", "error_title", "error_detail", "error_advice")
_TYPES: Final = {
    **dict.fromkeys(
        ("id", "tenant_id", "phone_number_id", "wamid", "status", "recipient", "contact_key"),
        "text",
    ),
    "status_rank": "integer",
    **dict.fromkeys(_TIMES.values(), "timestamptz"),
    "pricing_category": "text",
    "pricing_type": "text",
    "billable": "boolean",
    "error_code": "integer",
    **dict.fromkeys(_ERROR[1:], "text"),
    "updated_at": "timestamptz",
}


def _upsert_sql(postgres: bool) -> str:
    # ruff: noqa: S608 - built from constants of this module only
    names = ", ".join(_TYPES)
    if postgres:
        columns = ", ".join(f"{name} {kind}" for name, kind in _TYPES.items())
        rows = f"SELECT {names} FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r({columns})"
        defaults = "false, 0, true, 0, '', '', updated_at"
    else:
        values = ", ".join(f"value ->> '{name}' AS {name}" for name in _TYPES)
        rows = f"SELECT {names} FROM (SELECT {values} FROM json_each(:rows)) WHERE true"
        defaults = "0, 0, 1, 0, '', '', updated_at"
    fixed = (
        "recorded, generation, check_window, attempts, fingerprint, superseded_wamids, created_at"
    )
    rows = rows.replace(f"SELECT {names} FROM", f"SELECT {names}, {defaults} FROM", 1)
    # A receipt of an earlier generation is ignored; one of a later generation always moves the status.
    current = "(' ' || message.superseded_wamids || ' ') NOT LIKE ('% ' || excluded.wamid || ' %')"
    newer = "(message.wamid IS NOT NULL AND message.wamid <> excluded.wamid)"
    moves = f"({current} AND (excluded.status_rank > message.status_rank OR {newer}))"
    sets = [
        f"{name} = CASE WHEN {moves} THEN excluded.{name} ELSE message.{name} END"
        for name in ("status", "status_rank", *_ERROR)
    ]
    sets.append(f"wamid = CASE WHEN {current} THEN excluded.wamid ELSE message.wamid END")
    sets += [
        f"{name} = CASE WHEN {current} AND (message.{name} IS NULL OR excluded.{name} < message.{name})"
        f" THEN COALESCE(excluded.{name}, message.{name}) ELSE message.{name} END"
        for name in _TIMES.values()
    ]
    sets += [f"{name} = COALESCE(message.{name}, excluded.{name})" for name in _PRICING]
    sets.append("updated_at = excluded.updated_at")
    changed = " OR ".join(
        [moves]
        + [
            f"(excluded.{n} IS NOT NULL AND (message.{n} IS NULL OR excluded.{n} < message.{n}))"
            for n in _TIMES.values()
        ]
        + [f"(message.{n} IS NULL AND excluded.{n} IS NOT NULL)" for n in _PRICING]
    )
    return (
        f"INSERT INTO message ({names}, {fixed}) {rows} "
        f"ON CONFLICT (id) DO UPDATE SET {', '.join(sets)} WHERE {current} AND ({changed}) "
        "RETURNING id"
    )


_UPSERT: Final = {postgres: text(_upsert_sql(postgres)) for postgres in (False, True)}


def apply(
    session: Session, receipts: list[Receipt], tenants: Mapping[str, str], now: datetime
) -> list[str]:
    """Apply the statuses of one request; returns the ids of the messages they changed.

    ``tenants`` maps numbers to tenants; receipts of other numbers are stored as unassigned.
    """
    if not receipts:
        return []
    ids = _message_ids(session, receipts)
    merged: dict[str, dict[str, Any]] = {}
    for receipt in receipts:
        key = ids[receipt.wamid]
        merged[key] = _merge(merged.get(key), _row(key, receipt, tenants, now))
    postgres = session.get_bind().dialect.name == "postgresql"
    rows = [merged[key] for key in sorted(merged)]  # one order for all: no deadlocks
    return list(session.execute(_UPSERT[postgres], {"rows": json.dumps(rows)}).scalars())


def _message_ids(session: Session, receipts: list[Receipt]) -> dict[str, str]:
    """The row id of each wamid: the message we sent, else an orphan row."""
    ids = {r.wamid: r.message_id for r in receipts if r.message_id}
    unknown = [r.wamid for r in receipts if r.wamid not in ids]
    if unknown:
        found = session.execute(
            select(col(Message.wamid), col(Message.id)).where(col(Message.wamid).in_(unknown))
        )
        ids |= {str(wamid): message_id for wamid, message_id in found}
    return {r.wamid: ids.get(r.wamid) or orphan_id(r.wamid) for r in receipts}


def _row(key: str, receipt: Receipt, tenants: Mapping[str, str], now: datetime) -> dict[str, Any]:
    row: dict[str, Any] = {
        "id": key,
        "tenant_id": tenants.get(receipt.phone_number_id, UNASSIGNED),
        "phone_number_id": receipt.phone_number_id,
        "wamid": receipt.wamid,
        "status": receipt.observation.value,
        "status_rank": RANK[receipt.observation],
        "recipient": receipt.recipient,
        "contact_key": contact_key(receipt.recipient) if receipt.recipient else None,
        **dict.fromkeys(_TIMES.values()),
        **{name: getattr(receipt, name) for name in _PRICING},
        **_error(receipt),
        "updated_at": iso(now),
    }
    row[_TIMES[receipt.observation]] = iso(receipt.at)
    return row


def _error(receipt: Receipt) -> dict[str, Any]:
    rule = receipt.error
    if rule is None:
        return dict.fromkeys(_ERROR)
    return {
        "error_code": rule.code,
        "error_class": rule.error_class.value,
        "error_title": rule.title,
        "error_detail": receipt.error_detail,
        "error_advice": rule.advice,
    }


def _merge(one: dict[str, Any] | None, other: dict[str, Any]) -> dict[str, Any]:
    """Merge two rows of one message: PostgreSQL cannot upsert a row twice in one statement."""
    if one is None:
        return other
    ahead = advance(Observation(one["status"]), Observation(other["status"])) == other["status"]
    merged = {**one, **other} if ahead else {**other, **one}
    for name in _TIMES.values():
        times = [row[name] for row in (one, other) if row[name]]
        merged[name] = min(times) if times else None
    for name in _PRICING:
        merged[name] = one[name] if one[name] is not None else other[name]
    return merged


def failed_to_redrive(session: Session, wamids: list[str], codes: list[int]) -> list[Message]:
    """Of the messages with these (latest) wamids, those that Meta reported failed with one of ``codes``."""
    statement = select(Message).where(
        col(Message.wamid).in_(wamids),
        col(Message.recorded).is_(True),
        col(Message.status) == Observation.FAILED.value,
        col(Message.error_code).in_(codes),
    )
    return list(session.scalars(statement))
