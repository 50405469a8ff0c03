"""The state of conversations in the database: menu, uses, hand-over, mute."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from sqlalchemy import func, select, text, update
from sqlmodel import Session, col

from pytake.conversations.party import Party
from pytake.conversations.rules.responder import MenuRef, Uses
from pytake.conversations.snapshot import Standing
from pytake.conversations.tables import AutoReply, Conversation
from pytake.database.upsert import insert_into
from pytake.webhooks.contracts import DeliveryInput
from pytake.webhooks.event_types import ConversationEvent, EventType
from pytake.webhooks.events import NewEvent, emit
from pytake.webhooks.ordering import conversation_of

_COUNTED: Final = ("answered",)
"""Statuses that count as a use of a rule: answers that were decided, unless dropped before sending."""

_PERIODS: Final = 500
"""Periods counted by one query, each in a column: PostgreSQL returns at most 1664, SQLite 2000."""


def lock(session: Session, party: Party) -> Conversation:
    """Lock the conversation for this transaction, and return its row, created if missing.

    The lock is on (tenant, contact): uses are counted across a tenant's numbers.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.execute(
            text("SELECT pg_advisory_xact_lock(hashtextextended(:contact, 5))"),
            {"contact": f"{party.tenant_id}\n{party.contact_key}"},
        )
    session.execute(
        insert_into(session, Conversation)
        .values(
            phone_number_id=party.phone_number_id,
            contact_key=party.contact_key,
            tenant_id=party.tenant_id,
            tags=[],
        )
        .on_conflict_do_nothing()
    )
    return session.get_one(
        Conversation, (party.tenant_id, party.phone_number_id, party.contact_key)
    )


def find(session: Session, party: Party) -> Conversation | None:
    """The conversation's row, without a lock."""
    return session.get(Conversation, (party.tenant_id, party.phone_number_id, party.contact_key))


def standing_of(conversation: Conversation | None) -> Standing:
    """The standing stored in a row; the initial one without a row."""
    if conversation is None:
        return Standing()
    rule_id, path = conversation.menu_rule_id, conversation.menu_path
    return Standing(
        menu=MenuRef(rule_id, tuple(path or ())) if rule_id is not None else None,
        menu_at=conversation.menu_at,
        handover_at=conversation.handover_at,
        handover_active_at=conversation.handover_active_at,
        muted_until=conversation.muted_until,
        tags=tuple(conversation.tags),
        uses_since=conversation.uses_since,
    )


def uses_of(
    session: Session,
    party: Party,
    uses_since: datetime | None,
    rule_ids: Collection[str] | None = None,
    starts: Sequence[datetime] = (),
) -> dict[str, Uses]:
    """How often rules (``None``: all) answered the contact, on any of the tenant's numbers: in total
    (after ``uses_since``), and since each of ``starts``.
    """
    found: dict[str, Uses] = {}
    for first in range(0, max(len(starts), 1), _PERIODS):
        some = starts[first : first + _PERIODS]
        for rule_id, uses in _uses(session, party, uses_since, rule_ids, some).items():
            before = found.get(rule_id)
            found[rule_id] = replace(uses, since={**before.since, **uses.since}) if before else uses
    return found


def _uses(
    session: Session,
    party: Party,
    uses_since: datetime | None,
    rule_ids: Collection[str] | None,
    starts: Sequence[datetime],
) -> dict[str, Uses]:
    at = col(AutoReply.at)
    statement = (
        select(
            col(AutoReply.rule_id),
            func.count(),
            func.max(at),
            *(func.count().filter(at > start) for start in starts),
        )
        .where(
            col(AutoReply.tenant_id) == party.tenant_id,
            col(AutoReply.contact_key) == party.contact_key,
            col(AutoReply.rule_id).is_not(None)
            if rule_ids is None
            else col(AutoReply.rule_id).in_(rule_ids),
            col(AutoReply.status).in_(_COUNTED),
        )
        .group_by(col(AutoReply.rule_id))
    )
    if uses_since is not None:
        statement = statement.where(at > uses_since)
    return {
        rule_id: Uses(count, last, dict(zip(starts, counts, strict=True)))
        for rule_id, count, last, *counts in session.execute(statement)
    }


def hand_over(
    session: Session,
    conversation: Conversation,
    now: datetime,
    by: str,
    department: str | None = None,
) -> list[DeliveryInput]:
    """Hand the conversation over to a person, or note that the person is still active."""
    new = conversation.handover_at is None
    conversation.handover_active_at = now
    if new:
        conversation.handover_at = now
        conversation.handover_by = by
    if department is not None or new:
        conversation.department = department
    session.add(conversation)
    if not new:
        return []
    return _emit(session, EventType.CONVERSATION_HANDED_OVER, conversation, now, by)


def end_handover(
    session: Session, conversation: Conversation, now: datetime, reason: str
) -> list[DeliveryInput]:
    """Give the conversation back to the bot."""
    if conversation.handover_at is None:
        return []
    raised = _emit(session, EventType.CONVERSATION_RESUMED, conversation, now, reason)
    conversation.handover_at = conversation.handover_active_at = None
    conversation.handover_by = conversation.department = None
    session.add(conversation)
    return raised


def reset(session: Session, conversation: Conversation, now: datetime) -> list[DeliveryInput]:
    """Reset a conversation: uses, menu, tags, mute and hand-over."""
    raised = end_handover(session, conversation, now, "reset")
    conversation.menu_rule_id = conversation.menu_path = conversation.menu_at = None
    conversation.muted_until = None
    conversation.tags = []
    conversation.uses_since = now
    session.add(conversation)
    return raised


def taken_over(session: Session, reply: AutoReply) -> bool:
    """Whether a person took over after the answer was decided, so that it must not be sent."""
    party = Party(reply.tenant_id, reply.phone_number_id, reply.contact_key)
    conversation = find(session, party)
    return (
        conversation is not None
        and conversation.handover_at is not None
        and conversation.handover_at > reply.at
    )


def get_reply(session: Session, key: str) -> AutoReply | None:
    """A decision."""
    return session.get(AutoReply, key)


def drop(session: Session, key: str, reason: str) -> None:
    """Mark an answer as not sent, so that it does not count as a use of its rule."""
    session.execute(
        update(AutoReply)
        .where(col(AutoReply.key) == key, col(AutoReply.status) == "answered")
        .values(status="dropped", reason=reason)
    )


def _emit(
    session: Session, kind: EventType, conversation: Conversation, now: datetime, reason: str
) -> list[DeliveryInput]:
    party = f"{conversation.phone_number_id}:{conversation.contact_key}"
    data = ConversationEvent(
        phone_number_id=conversation.phone_number_id,
        contact=conversation.contact_key,
        at=now,
        department=conversation.department,
        reason=reason,
    )
    event = NewEvent(
        conversation.tenant_id,
        kind.value,
        f"{party}:{now.isoformat()}",
        data.model_dump(mode="json"),
        now,
        conversation_of(conversation.phone_number_id, conversation.contact_key),
    )
    return emit(session, [event], now)
