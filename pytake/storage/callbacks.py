"""What Meta's callback brings besides statuses: inbound messages, contacts, other updates."""

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import case, func, select, update
from sqlmodel import Session, col

from pytake.storage.conversation_state import Party
from pytake.storage.messages import insert_into
from pytake.storage.tables import CallbackUpdate, Contact, InboundMessage, PhoneNumber

UNASSIGNED: Final = "*"
"""The tenant of what came for a number or an account that is nobody's here: only admins see it."""
_UNSIGNALLED_AFTER: Final = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Inbound:
    """One message of a contact."""

    wamid: str
    tenant_id: str
    phone_number_id: str
    contact_key: str
    wa_id: str | None
    user_id: str | None
    name: str | None
    type: str
    payload: dict[str, Any]
    sent_at: datetime
    answerable: bool = False
    """Whether it is of a kind that the auto-responder may answer."""
    personal: bool = True
    """Whether it was said to one of our numbers alone: only then it opens the contact's window."""
    group_id: str | None = None


@dataclass(frozen=True, slots=True)
class Waiting:
    """A message that a conversation's workflow is still to be told of."""

    party: Party
    wamid: str


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


def store_inbound(
    session: Session, messages: list[Inbound], now: datetime, *, answered: bool = True
) -> list[Waiting]:
    """Keep inbound messages once, and open their contacts' customer service windows.

    Returns:
        The new ones that are answerable, in order: conversations are to be told of them, unless
        ``answered`` says that the auto-responder is off.
    """
    if not messages:
        return []
    rows = {
        m.wamid: {
            "wamid": m.wamid,
            "tenant_id": m.tenant_id,
            "phone_number_id": m.phone_number_id,
            "contact_key": m.contact_key,
            "type": m.type,
            "payload": m.payload,
            "sent_at": m.sent_at,
            "received_at": now,
            "signalled_at": None if m.answerable and answered else now,
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
    _open_windows(session, [m for m in messages if m.personal])
    return [
        Waiting(Party(m.tenant_id, m.phone_number_id, m.contact_key), m.wamid)
        for m in sorted(messages, key=lambda message: message.sent_at)
        if m.answerable and m.wamid in new_wamids
    ]


def _open_windows(session: Session, messages: list[Inbound]) -> None:
    """Note when the contacts last wrote, and what is known of them."""
    if not messages:
        return
    contacts: dict[tuple[str, str], dict[str, Any]] = {}
    for m in sorted(messages, key=lambda message: message.sent_at):
        key = (m.phone_number_id, m.contact_key)
        earlier = contacts.get(key, {})
        contacts[key] = {
            "phone_number_id": m.phone_number_id,
            "contact_key": m.contact_key,
            "tenant_id": m.tenant_id,
            "wa_id": m.wa_id or earlier.get("wa_id"),
            "user_id": m.user_id or earlier.get("user_id"),
            "name": m.name or earlier.get("name"),
            "first_inbound_at": earlier.get("first_inbound_at", m.sent_at),
            "last_inbound_at": m.sent_at,
        }
    statement = insert_into(session, Contact)
    new = statement.excluded
    # Of a number that was moved: its new owner learns nothing of before.
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


def unsignalled(session: Session, now: datetime, limit: int = 500) -> list[Waiting]:
    """Messages that a crash left between their commit and the signal."""
    rows = session.scalars(
        select(InboundMessage)
        .where(
            col(InboundMessage.signalled_at).is_(None),
            col(InboundMessage.received_at) < now - _UNSIGNALLED_AFTER,
        )
        .order_by(col(InboundMessage.sent_at))
        .limit(limit)
    )
    return [
        Waiting(Party(row.tenant_id, row.phone_number_id, row.contact_key), row.wamid)
        for row in rows
    ]


def signalled(session: Session, wamids: list[str], now: datetime) -> None:
    """Note that conversations were told."""
    session.execute(
        update(InboundMessage).where(col(InboundMessage.wamid).in_(wamids)).values(signalled_at=now)
    )


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


def last_inbound_at(
    session: Session, phone_number_id: str, contact_key: str, tenant_id: str | None
) -> datetime | None:
    """When the contact last wrote to the number, as far as it wrote to the tenant (``None``: to any)."""
    contact = session.get(Contact, (phone_number_id, contact_key))
    if contact is None or tenant_id not in (None, contact.tenant_id):
        return None
    return contact.last_inbound_at


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
