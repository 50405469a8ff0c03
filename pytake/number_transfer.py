"""Moving a number to another tenant and removing it, with the effects on other nouns."""

from datetime import datetime

from sqlalchemy import delete, func, select, update
from sqlmodel import Session, col

from pytake.conversations.tables import InboundMessage
from pytake.insights.tables import NumberSnapshot
from pytake.numbers.owners import locked, unshare
from pytake.numbers.tables import Alert, NumberShare, PhoneNumber


def move(session: Session, phone_number_id: str, tenant_id: str, now: datetime) -> PhoneNumber:
    """Move a number to another tenant, with its state, its open alerts and its last snapshot.

    The previous owner keeps its history: messages, contacts and their windows, conversations,
    opt-outs, rules, business hours, and Meta's earlier daily counts.

    Raises:
        NumberError: it is not registered.
    """
    number = locked(session, phone_number_id)
    before = number.tenant_id
    if before == tenant_id:
        return number
    number.tenant_id, number.owned_since = tenant_id, now
    session.add(number)
    unshare(session, [phone_number_id], tenant_id)
    session.execute(
        update(Alert)
        .where(
            col(Alert.phone_number_id) == phone_number_id,
            col(Alert.tenant_id) == before,
            col(Alert.ended_at).is_(None),
        )
        .values(tenant_id=tenant_id)
    )
    session.execute(
        update(NumberSnapshot)
        .where(col(NumberSnapshot.phone_number_id) == phone_number_id)
        .values(tenant_id=tenant_id)
    )
    return number


def remove(session: Session, phone_number_id: str, now: datetime) -> PhoneNumber:
    """Remove a number: nothing goes out from it any more, its shares and open alerts end.

    Messages, contacts, conversations and counts stay, and so do rules and business hours for it.

    Raises:
        NumberError: it is not registered.
    """
    number = locked(session, phone_number_id)
    session.execute(delete(NumberShare).where(col(NumberShare.phone_number_id) == phone_number_id))
    session.execute(
        delete(NumberSnapshot).where(col(NumberSnapshot.phone_number_id) == phone_number_id)
    )
    session.execute(
        update(Alert)
        .where(col(Alert.phone_number_id) == phone_number_id, col(Alert.ended_at).is_(None))
        .values(ended_at=now)
    )
    session.delete(number)
    return number


def unsignalled(session: Session, phone_number_id: str) -> int:
    """How many inbound messages of a number have not been signalled to a conversation yet."""
    statement = select(func.count()).where(
        col(InboundMessage.phone_number_id) == phone_number_id,
        col(InboundMessage.signalled_at).is_(None),
    )
    return session.scalars(statement).one()
