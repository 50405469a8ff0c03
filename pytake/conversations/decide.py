"""Deciding what a contact is answered: one transaction for a burst of messages, done once."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlmodel import Session, col

from pytake.conversations import rule_store as rules
from pytake.conversations import wishes
from pytake.conversations.heard import Heard, history_before, read_rows, undecided
from pytake.conversations.rules.etiquette import CONFIRMATIONS, LoopBreaker, Wish, wish
from pytake.conversations.rules.hours import BusinessHours
from pytake.conversations.rules.matching import RuleBook
from pytake.conversations.rules.responder import Choice, MenuRef, Situation, choose, pick, texts_of
from pytake.conversations.rules.rules import AddTag, Fill, Rule, TransferToAgent, steps
from pytake.conversations.rules.triggers import OptTrigger
from pytake.conversations.rules.values import values
from pytake.conversations.state import Party, UsesOfContact, end_handover, hand_over, lock, menu_of
from pytake.conversations.tables import AutoReply, Conversation
from pytake.settings import Settings
from pytake.webhooks.contracts import DeliveryInput


@dataclass(frozen=True, slots=True)
class Policy:
    """What the settings say about answering."""

    max_age: timedelta
    """An answer later than this after the message is not given."""
    handover_silence: timedelta
    """A hand-over ends after this long without a sign of life."""
    loop: LoopBreaker
    install_defaults: bool
    answers: bool = True
    """Whether the auto-responder is on."""


def options_of(settings: Settings) -> Policy:
    """What the settings say."""
    return Policy(
        max_age=timedelta(seconds=settings.reply_max_age_seconds),
        handover_silence=timedelta(seconds=settings.handover_silence_seconds),
        loop=LoopBreaker(
            settings.loop_exchanges, settings.loop_seconds, settings.loop_pause_seconds
        ),
        install_defaults=settings.default_rules,
        answers=settings.auto_responder,
    )


class MovedError(Exception):
    """Messages belong to another tenant than the conversation began with."""

    def __init__(self, tenant_id: str) -> None:
        super().__init__(tenant_id)
        self.tenant_id = tenant_id


@dataclass(slots=True)
class Verdict:
    """What was decided; ``raised`` are events to dispatch after the commit."""

    reply: AutoReply
    choice: Choice | None = None
    raised: list[DeliveryInput] = field(default_factory=list)


class OutdatedError(Exception):
    """The tenant's rules changed since they were read: read them, and decide again."""


def prepare(
    session: Session,
    books: rules.Books,
    party: Party,
    wamids: list[str],
    policy: Policy,
    now: datetime,
) -> tuple[RuleBook, list[str]] | None:
    """The rules as they are, and the texts that :func:`decide` will match them with; ``None`` if the
    tenant's auto-responder was not set up yet.

    Matching takes time that no other transaction should wait for: it is done between the two. What
    changes meanwhile, :func:`decide` finds out.
    """
    if not rules.installed(session, party.tenant_id):
        return None
    heard = read_rows(session, party, undecided(session, wamids))
    fresh = [item.said for item in heard if now - item.at <= policy.max_age]
    return books.load(session, party.tenant_id), texts_of(fresh)


def decide(
    session: Session,
    party: Party,
    key: str,
    wamids: list[str],
    book: RuleBook,
    policy: Policy,
    now: datetime,
) -> Verdict:
    """Decide about inbound messages that are not decided about yet, and remember it.

    Raises:
        MovedError: the number was moved: they were written to another tenant.
        OutdatedError: the rules changed since ``book`` was read.
        UnreadTextError: ``book`` has read texts, but not these.
    """
    earlier = session.get(AutoReply, key)
    if earlier is not None:
        return Verdict(earlier)
    conversation = lock(session, party)
    rows = undecided(session, wamids)
    if not rows:
        return Verdict(_silent(party, key, now, "every message was answered before"))
    if rows[-1].tenant_id != party.tenant_id:
        raise MovedError(rows[-1].tenant_id)
    heard = read_rows(session, party, rows)
    for row in rows:
        row.handled_by = key
        session.add(row)
    if not policy.answers:  # switched off since they came
        raised = wishes.overhear(session, [(party, item.said) for item in heard], now)
        reply = _silent(party, key, now, "the auto-responder is switched off")
        session.add(reply)
        return Verdict(reply, raised=raised)
    first, silence = history_before(session, party, [row.wamid for row in rows], rows[0].sent_at)
    verdict = respond(
        session, conversation, party, key, heard, book, policy, now, first=first, silence=silence
    )
    session.add(verdict.reply)
    return verdict


def respond(
    session: Session,
    conversation: Conversation,
    party: Party,
    key: str,
    heard: list[Heard],
    book: RuleBook,
    policy: Policy,
    now: datetime,
    *,
    first: bool,
    silence: timedelta | None = None,
    explain: bool = False,
) -> Verdict:
    """The answer to messages, with its effects on the conversation; the caller keeps the reply.

    Raises:
        OutdatedError, UnreadTextError: as :func:`decide`.
    """
    if rules.revision(session, party.tenant_id) != book.revision:
        raise OutdatedError
    hours = rules.hours_of(session, party.tenant_id, party.phone_number_id)
    menu = menu_of(conversation, now)
    wished, raised = _wishes(session, party, heard, book, menu, now)
    fresh = [item for item in heard if now - item.at <= policy.max_age]
    verdict = Verdict(_silent(party, key, now, ""), raised=raised)
    if not fresh:
        verdict.reply.reason = "the messages are too old to be answered"
        return verdict
    if wished is None or wished.rule is None:  # goodbye is said in any case
        reason = _handed_over(session, conversation, policy, now, verdict.raised)
        tapped = any(item.said.reply_id for item in fresh)  # as no bot does
        if reason is None and not tapped:
            reason = _looks_like_a_bot(session, conversation, policy.loop, now)
        if reason is not None:
            verdict.reply.reason = reason
            return verdict
    burst = [item.said for item in fresh]
    if wished is not None:
        verdict.choice = Choice(wished.rule, wished.rule.response if wished.rule else None)
        if wished.rule is None:
            verdict.reply.reason = wished.reason
            return verdict
    else:
        situation = Situation(
            at=now,
            phone_number_id=party.phone_number_id,
            hours=hours,
            first=first,
            silence=silence,
            menu=menu,
            uses=UsesOfContact(session, conversation),
        )
        verdict.choice = choose(book, burst, situation, explain=explain)
    _answer(session, conversation, verdict, fresh, hours, now)
    if verdict.reply.status == "silent" and not verdict.reply.reason:
        verdict.reply.reason = "no rule matches"
    return verdict


@dataclass(frozen=True, slots=True)
class _Wished:
    rule: Rule | None
    reason: str = ""


def _wishes(
    session: Session,
    party: Party,
    heard: list[Heard],
    book: RuleBook,
    menu: MenuRef | None,
    now: datetime,
) -> tuple[_Wished | None, list[DeliveryInput]]:
    """Record opt-outs and returns, even where nothing is answered."""
    wished: _Wished | None = None
    raised: list[DeliveryInput] = []
    for item in heard:
        said = pick(book, item.said, menu)
        wanted = None if said.reply_id and not item.said.reply_id else wish(item.said.text)
        if wanted is None:
            continue
        done = wishes.record(session, party, wanted, item.said.text, now)
        if done is not None:
            raised += done
            wished = _Wished(_confirmation(book, wanted, party))
        elif wanted is Wish.LEAVE:
            wished = wished or _Wished(None, "the contact opted out already, and was told so")
    return wished, raised


def _confirmation(book: RuleBook, wanted: Wish, party: Party) -> Rule:
    own = [
        rule
        for rule in book.rules.values()
        if rule.active
        and isinstance(rule.trigger, OptTrigger)
        and rule.trigger.type == wanted.value
        and rule.phone_number_id in (None, party.phone_number_id)
    ]
    return min(
        own, key=lambda rule: (-rule.priority, rule.created_at), default=CONFIRMATIONS[wanted]
    )


def _handed_over(
    session: Session,
    conversation: Conversation,
    policy: Policy,
    now: datetime,
    raised: list[DeliveryInput],
) -> str | None:
    """Whether a person has the conversation; ends a hand-over that fell silent."""
    if conversation.handover_at is None:
        return None
    active = conversation.handover_active_at or conversation.handover_at
    if now - active < policy.handover_silence:
        conversation.handover_active_at = now
        session.add(conversation)
        return "a person has the conversation"
    raised += end_handover(session, conversation, now, "silence")
    return None


def _looks_like_a_bot(
    session: Session, conversation: Conversation, loop: LoopBreaker, now: datetime
) -> str | None:
    """Whether the contact gets answers faster than a person reads them; it then is left alone."""
    if conversation.muted_until is not None and conversation.muted_until > now:
        return f"it looks like a bot: silent until {conversation.muted_until.isoformat()}"
    answers = session.scalars(
        select(func.count()).where(
            col(AutoReply.tenant_id) == conversation.tenant_id,
            col(AutoReply.phone_number_id) == conversation.phone_number_id,
            col(AutoReply.contact_key) == conversation.contact_key,
            col(AutoReply.at) > now - timedelta(seconds=loop.seconds),
            col(AutoReply.status) == "answered",
        )
    ).one()
    if answers < loop.exchanges:
        return None
    conversation.muted_until = now + timedelta(seconds=loop.pause_seconds)
    session.add(conversation)
    return f"it looks like a bot: {answers} answers within {loop.seconds:g} seconds"


def _answer(
    session: Session,
    conversation: Conversation,
    verdict: Verdict,
    heard: list[Heard],
    hours: BusinessHours,
    now: datetime,
) -> None:
    """Write the chosen answer down and do what it does besides sending."""
    choice, reply = verdict.choice, verdict.reply
    last = next(
        (h for h in reversed(heard) if choice and h.said.text == choice.said.text), heard[-1]
    )
    reply.recipient, reply.reply_to = last.recipient, last.wamid
    if choice is None or choice.rule is None:
        return
    said = " ".join(item.said.text for item in heard if item.said.text)
    fill = Fill(values(at=now, hours=hours, name=last.name, phone=last.recipient, message=said))
    reply.rule_id = choice.rule.id
    reply.delay_seconds = choice.rule.delay_seconds
    reply.messages = [[kind.value, content] for kind, content in choice.response.messages(fill)]
    reply.status = "answered"
    if choice.menu is not None:
        conversation.menu_rule_id = choice.menu.rule_id
        conversation.menu_path = list(choice.menu.path)
        conversation.menu_at = now
    elif choice.rule.trigger.type != "Default":
        conversation.menu_rule_id = conversation.menu_path = conversation.menu_at = None
    for step in steps(choice.response):
        if isinstance(step, AddTag) and step.tag not in conversation.tags:
            conversation.tags = [*conversation.tags, step.tag]
        elif isinstance(step, TransferToAgent):
            by = f"rule:{choice.rule.id}"
            verdict.raised += hand_over(session, conversation, now, by, step.department)
    session.add(conversation)


def get_reply(session: Session, key: str) -> AutoReply | None:
    """A decision."""
    return session.get(AutoReply, key)


def _silent(party: Party, key: str, now: datetime, reason: str) -> AutoReply:
    return AutoReply(
        key=key,
        tenant_id=party.tenant_id,
        phone_number_id=party.phone_number_id,
        contact_key=party.contact_key,
        recipient=party.contact_key,
        status="silent",
        reason=reason,
        messages=[],
        at=now,
    )
