"""Inbound messages in the database, and which of them conversations have been signalled."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import case, func, select, update
from sqlmodel import Session, col

from pytake.contacts.tables import Contact
from pytake.conversations.inbound import Inbound
from pytake.conversations.party import Party
from pytake.conversations.tables import InboundMessage
from pytake.database.upsert import insert_into
from pytake.tenants import UNASSIGNED

_UNSIGNALLED_AFTER: Final = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Waiting:
    """A message that its conversation's workflow has yet to be signalled."""

    party: Party
    wamid: str


def store_inbound(
    session: Session,
    messages: list[Inbound],
    tenants: Mapping[str, str],
    now: datetime,
    *,
    answered: bool = True,
) -> list[Waiting]:
    """Store new inbound messages, and open their contacts' customer service windows.

    ``tenants`` maps numbers to tenants: messages to other numbers are stored, but have no effect.

    Returns:
        The new, answerable messages, in order. Conversations are to be signalled, unless ``answered``
        is false (the auto-responder is off).
    """
    if not messages:
        return []
    rows = {
        m.wamid: {
            "wamid": m.wamid,
            "tenant_id": tenants.get(m.phone_number_id, UNASSIGNED),
            "phone_number_id": m.phone_number_id,
            "contact_key": m.contact_key,
            "type": m.type,
            "payload": m.payload,
            "sent_at": m.at,
            "received_at": now,
            "signalled_at": None if answered and _answerable(m, tenants) else now,
            "group_id": m.group_id,
        }
        for m in messages
    }
    inserted = session.execute(
        insert_into(session, InboundMessage)
        .on_conflict_do_nothing()
        .returning(InboundMessage.wamid),
        [rows[k] for k in sorted(rows)],
    )
    new_wamids = set(inserted.scalars())
    personal = [m for m in messages if m.personal and m.phone_number_id in tenants]
    _open_windows(session, personal, tenants)
    return [
        Waiting(Party(tenants[m.phone_number_id], m.phone_number_id, m.contact_key), m.wamid)
        for m in sorted(messages, key=lambda message: message.at)
        if m.wamid in new_wamids and _answerable(m, tenants)
    ]


def _answerable(message: Inbound, tenants: Mapping[str, str]) -> bool:
    return message.phone_number_id in tenants and message.answerable


def _open_windows(session: Session, messages: list[Inbound], tenants: Mapping[str, str]) -> None:
    """Store when the contacts last wrote, and their ids and names."""
    if not messages:
        return
    contacts: dict[tuple[str, str], dict[str, Any]] = {}
    for m in sorted(messages, key=lambda message: message.at):
        key = (m.phone_number_id, m.contact_key)
        earlier = contacts.get(key, {})
        contacts[key] = {
            "phone_number_id": m.phone_number_id,
            "contact_key": m.contact_key,
            "tenant_id": tenants[m.phone_number_id],
            "wa_id": m.wa_id or earlier.get("wa_id"),
            "user_id": m.user_id or earlier.get("user_id"),
            "name": m.name or earlier.get("name"),
            "first_inbound_at": earlier.get("first_inbound_at", m.at),
            "last_inbound_at": m.at,
        }
    statement = insert_into(session, Contact)
    new = statement.excluded
    # The number was moved to another tenant, which must learn nothing of the time before.
    moved = new.tenant_id != Contact.tenant_id
    statement = statement.on_conflict_do_update(
        index_elements=["phone_number_id", "contact_key"],
        set_={
            "tenant_id": new.tenant_id,
            "first_inbound_at": case((moved, new.first_inbound_at), else_=Contact.first_inbound_at),
            "last_inbound_at": case(
                (moved, new.last_inbound_at),
                (new.last_inbound_at > Contact.last_inbound_at, new.last_inbound_at),
                else_=Contact.last_inbound_at,
            ),
            "wa_id": func.coalesce(new.wa_id, Contact.wa_id),
            "user_id": func.coalesce(new.user_id, Contact.user_id),
            "name": case((moved, new.name), else_=func.coalesce(new.name, Contact.name)),
        },
    )
    session.execute(statement, [contacts[key] for key in sorted(contacts)])


def unsignalled(session: Session, now: datetime, skip: int = 0, limit: int = 500) -> list[Waiting]:
    """Messages that were stored but, due to a crash, not signalled."""
    rows = session.scalars(
        select(InboundMessage)
        .where(
            col(InboundMessage.signalled_at).is_(None),
            col(InboundMessage.received_at) < now - _UNSIGNALLED_AFTER,
        )
        .order_by(col(InboundMessage.sent_at), col(InboundMessage.wamid))
        .offset(skip)
        .limit(limit)
    )
    return [
        Waiting(Party(row.tenant_id, row.phone_number_id, row.contact_key), row.wamid)
        for row in rows
    ]


def mark_signalled(session: Session, wamids: list[str], now: datetime) -> None:
    """Note that conversations were signalled."""
    session.execute(
        update(InboundMessage).where(col(InboundMessage.wamid).in_(wamids)).values(signalled_at=now)
    )
