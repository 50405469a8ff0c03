"""Unhandled inbound messages, and the history of their contacts."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select
from sqlmodel import Session, col

from pytake.contacts.tables import Contact
from pytake.conversations.party import Party
from pytake.conversations.rules.said import read_said
from pytake.conversations.snapshot import Heard
from pytake.conversations.tables import InboundMessage


def undecided(session: Session, wamids: list[str]) -> list[InboundMessage]:
    """Those of the messages that no decision has handled yet, in the order in which they were sent."""
    found = session.scalars(
        select(InboundMessage).where(
            col(InboundMessage.wamid).in_(wamids), col(InboundMessage.handled_by).is_(None)
        )
    )
    place = {wamid: index for index, wamid in enumerate(wamids)}
    return sorted(found, key=lambda row: (row.sent_at, row.received_at, place[row.wamid]))


def read_rows(session: Session, party: Party, rows: list[InboundMessage]) -> list[Heard]:
    """Parse those of the messages that belong to the tenant."""
    contact = session.get(Contact, (party.phone_number_id, party.contact_key))
    return [
        Heard(
            said=read_said(row.type, row.payload),
            at=row.sent_at,
            wamid=row.wamid,
            recipient=_address(row, party),
            name=contact.name if contact and contact.tenant_id == party.tenant_id else None,
        )
        for row in rows
        if row.tenant_id == party.tenant_id
    ]


def _address(row: InboundMessage, party: Party) -> str:
    sender: Any = row.payload.get("from") or row.payload.get("from_user_id")
    return sender.lstrip("+") if isinstance(sender, str) else party.contact_key


def history_before(
    session: Session, party: Party, burst: list[str], start: datetime
) -> tuple[bool, timedelta | None]:
    """Whether these are the contact's first messages; else how long the contact was silent before them."""
    before: datetime | None = session.scalars(
        select(func.max(InboundMessage.sent_at)).where(
            col(InboundMessage.tenant_id) == party.tenant_id,
            col(InboundMessage.phone_number_id) == party.phone_number_id,
            col(InboundMessage.contact_key) == party.contact_key,
            col(InboundMessage.wamid).not_in(burst),
            col(InboundMessage.sent_at) <= start,
        )
    ).one()
    if before is not None:
        return False, start - before
    contact = session.get(Contact, (party.phone_number_id, party.contact_key))
    if contact is None or contact.tenant_id != party.tenant_id:
        return True, None
    return contact.first_inbound_at >= start, None


def history(session: Session, party: Party, now: datetime) -> tuple[bool, timedelta | None]:
    """Like :func:`history_before`, for a message written now."""
    return history_before(session, party, [""], now)
