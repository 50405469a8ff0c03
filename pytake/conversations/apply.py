"""Storing a decision: in one transaction, once, and only if its inputs have not changed."""

from dataclasses import dataclass, field

from sqlalchemy import update
from sqlmodel import Session, col

from pytake.contacts import opt_outs
from pytake.conversations import rule_store as rules
from pytake.conversations import wishes
from pytake.conversations.decide import Changes, Policy, Verdict
from pytake.conversations.load import answers_of
from pytake.conversations.snapshot import Snapshot
from pytake.conversations.state import end_handover, hand_over, lock, standing_of
from pytake.conversations.tables import AutoReply, Conversation, InboundMessage
from pytake.webhooks.contracts import DeliveryInput


class OutdatedError(Exception):
    """The inputs of the decision have changed: load them and decide again."""


@dataclass(frozen=True, slots=True)
class Applied:
    """The stored decision; ``raised`` are events to dispatch after the commit."""

    reply: AutoReply
    raised: list[DeliveryInput] = field(default_factory=list)


def apply(
    session: Session, snapshot: Snapshot, verdict: Verdict, policy: Policy, key: str
) -> Applied:
    """Store a decision under its key, with its effects; a repeat returns the stored decision.

    Raises:
        OutdatedError: rules, messages, the conversation or the contact's answers changed since.
    """
    conversation = lock(session, snapshot.party)
    earlier = session.get(AutoReply, key)
    if earlier is not None:
        return Applied(earlier)
    reply = _reply(snapshot, verdict, key)
    if not snapshot.heard:
        return Applied(reply)
    _check_unchanged(session, snapshot, conversation, policy)
    _mark_handled(session, snapshot, key)
    raised = _change(session, snapshot, conversation, verdict.changes)
    session.add(reply)
    return Applied(reply, raised)


def _check_unchanged(
    session: Session, snapshot: Snapshot, conversation: Conversation, policy: Policy
) -> None:
    party = snapshot.party
    if (
        standing_of(conversation) != snapshot.standing
        or rules.revision(session, party.tenant_id) != snapshot.revision
        or answers_of(session, party, policy.loop, snapshot.at) != snapshot.answers
    ):
        raise OutdatedError


def _mark_handled(session: Session, snapshot: Snapshot, key: str) -> None:
    """Mark the messages as handled by this decision."""
    if not snapshot.wamids:
        return
    mine = session.scalars(
        update(InboundMessage)
        .where(
            col(InboundMessage.wamid).in_(snapshot.wamids),
            col(InboundMessage.handled_by).is_(None),
        )
        .values(handled_by=key)
        .returning(col(InboundMessage.wamid))
        .execution_options(synchronize_session=False)
    ).all()
    if set(mine) != set(snapshot.wamids):
        raise OutdatedError


def _wishes(session: Session, snapshot: Snapshot, changes: Changes) -> list[DeliveryInput]:
    party, raised = snapshot.party, list[DeliveryInput]()
    for wanted, text in changes.wishes:
        done = wishes.record(session, party, wanted, text, snapshot.at)
        if done is None:  # the contact opted out or in some other way meanwhile
            raise OutdatedError
        raised += done
    if not changes.wishes and snapshot.opted_out is not None:
        opted_out = opt_outs.get(session, party.tenant_id, party.contact_key) is not None
        if opted_out is not snapshot.opted_out:
            raise OutdatedError
    return raised


def _change(
    session: Session, snapshot: Snapshot, conversation: Conversation, changes: Changes
) -> list[DeliveryInput]:
    now = snapshot.at
    raised = _wishes(session, snapshot, changes)
    if changes.handover_alive:
        conversation.handover_active_at = now
    if changes.handover_ends:
        raised += end_handover(session, conversation, now, "silence")
    if changes.muted_until is not None:
        conversation.muted_until = changes.muted_until
    if changes.menu_shown is not None:
        conversation.menu_rule_id = changes.menu_shown.rule_id
        conversation.menu_path = list(changes.menu_shown.path)
        conversation.menu_at = now
    elif changes.menu_closed:
        conversation.menu_rule_id = conversation.menu_path = conversation.menu_at = None
    if changes.tags:
        conversation.tags = [*conversation.tags, *changes.tags]
    for wanted in changes.hand_over:
        raised += hand_over(session, conversation, now, wanted.by, wanted.department)
    session.add(conversation)
    return raised


def _reply(snapshot: Snapshot, verdict: Verdict, key: str) -> AutoReply:
    party, reply = snapshot.party, verdict.reply
    return AutoReply(
        key=key,
        tenant_id=party.tenant_id,
        phone_number_id=party.phone_number_id,
        contact_key=party.contact_key,
        recipient=reply.recipient,
        rule_id=reply.rule_id,
        status=reply.status,
        reason=reply.reason,
        messages=[list(message) for message in reply.messages],
        reply_to=reply.reply_to,
        delay_seconds=reply.delay_seconds,
        at=snapshot.at,
    )
