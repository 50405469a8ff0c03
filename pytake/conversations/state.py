"""Where the bot and a contact stand: menu, uses, hand-over, silence."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import func, select, text, update
from sqlmodel import Session, col

from pytake.conversations.rules.responder import MenuRef, Uses
from pytake.conversations.tables import AutoReply, Conversation
from pytake.database.upsert import insert_into
from pytake.webhooks.contracts import DeliveryInput
from pytake.webhooks.event_types import ConversationEvent, EventType
from pytake.webhooks.events import NewEvent, emit
from pytake.webhooks.ordering import conversation_of

_MENU_VALID: Final = timedelta(hours=24)
"""How long a typed number means an option of the menu that was shown."""
_COUNTED: Final = ("answered",)
"""An answer that was decided counts as a use, unless it was dropped before it went out."""

_ASKED_ONE_BY_ONE: Final = 3


@dataclass(frozen=True, slots=True)
class Party:
    """Who talks: a contact and one of a tenant's numbers."""

    tenant_id: str
    phone_number_id: str
    contact_key: str


def lock(session: Session, party: Party) -> Conversation:
    """The conversation's row, for this transaction alone.

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
    """The conversation's row, to look at."""
    return session.get(Conversation, (party.tenant_id, party.phone_number_id, party.contact_key))


def menu_of(conversation: Conversation | None, now: datetime) -> MenuRef | None:
    """The choice the contact was shown last, while it is valid."""
    if conversation is None or conversation.menu_rule_id is None or conversation.menu_at is None:
        return None
    if now - conversation.menu_at > _MENU_VALID:
        return None
    return MenuRef(conversation.menu_rule_id, tuple(conversation.menu_path or ()))


def uses(
    session: Session, conversation: Conversation, rule_id: str, since: datetime | None
) -> Uses:
    """How often a rule answered the contact, on any of the tenant's numbers."""
    start = max((t for t in (since, conversation.uses_since) if t is not None), default=None)
    statement = select(func.count(), func.max(AutoReply.at)).where(
        col(AutoReply.tenant_id) == conversation.tenant_id,
        col(AutoReply.contact_key) == conversation.contact_key,
        col(AutoReply.rule_id) == rule_id,
        col(AutoReply.status).in_(_COUNTED),
    )
    if start is not None:
        statement = statement.where(col(AutoReply.at) > start)
    count, last = session.execute(statement).one()
    return Uses(count, last)


def all_uses(session: Session, conversation: Conversation) -> dict[str, Uses]:
    """Uses of every rule that answered the contact."""
    statement = (
        select(col(AutoReply.rule_id), func.count(), func.max(AutoReply.at))
        .where(
            col(AutoReply.tenant_id) == conversation.tenant_id,
            col(AutoReply.contact_key) == conversation.contact_key,
            col(AutoReply.rule_id).is_not(None),
            col(AutoReply.status).in_(_COUNTED),
        )
        .group_by(col(AutoReply.rule_id))
    )
    if conversation.uses_since is not None:
        statement = statement.where(col(AutoReply.at) > conversation.uses_since)
    return {rule_id: Uses(count, last) for rule_id, count, last in session.execute(statement)}


class UsesOfContact:
    """:func:`uses` of one contact. From the fourth rule on that is asked for, what the contact never got is
    known without a query: however many rules match, the transaction is short.
    """

    def __init__(self, session: Session, conversation: Conversation) -> None:
        self._session, self._conversation = session, conversation
        self._asked = 0
        self._ever: dict[str, Uses] | None = None

    def __call__(self, rule_id: str, since: datetime | None) -> Uses:
        """As :func:`uses`."""
        self._asked += 1
        if self._asked > _ASKED_ONE_BY_ONE and self._ever is None:
            self._ever = all_uses(self._session, self._conversation)
        if self._ever is not None:
            ever = self._ever.get(rule_id, Uses())
            if since is None or ever.last_at is None or ever.last_at <= since:
                return ever if since is None else Uses()
        return uses(self._session, self._conversation, rule_id, since)


def hand_over(
    session: Session,
    conversation: Conversation,
    now: datetime,
    by: str,
    department: str | None = None,
) -> list[DeliveryInput]:
    """Give the conversation to a person, or note that the person is still there."""
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
    """Begin anew with a contact: uses, menu, tags, silence and hand-over are forgotten."""
    raised = end_handover(session, conversation, now, "reset")
    conversation.menu_rule_id = conversation.menu_path = conversation.menu_at = None
    conversation.muted_until = None
    conversation.tags = []
    conversation.uses_since = now
    session.add(conversation)
    return raised


def taken_over(session: Session, reply: AutoReply) -> bool:
    """Whether a person took over after the answer was decided: it is not sent any more."""
    party = Party(reply.tenant_id, reply.phone_number_id, reply.contact_key)
    conversation = find(session, party)
    return (
        conversation is not None
        and conversation.handover_at is not None
        and conversation.handover_at > reply.at
    )


def drop(session: Session, key: str, reason: str) -> None:
    """An answer that did not go out: it is no use of its rule."""
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
