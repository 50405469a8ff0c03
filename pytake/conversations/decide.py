"""Deciding how to answer a contact. Pure: it turns a snapshot into changes, holding no lock and reading
no clock, so that it may take its time between the two transactions.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from pytake.conversations.party import Party
from pytake.conversations.rules.etiquette import CONFIRMATIONS, LoopBreaker, Wish, wish
from pytake.conversations.rules.matching import RuleBook
from pytake.conversations.rules.responder import Choice, MenuRef, Situation, choose, pick, texts_of
from pytake.conversations.rules.rules import AddTag, Fill, Rule, TransferToAgent, steps
from pytake.conversations.rules.triggers import OptTrigger
from pytake.conversations.rules.values import values
from pytake.conversations.snapshot import Heard, Snapshot
from pytake.messages.content import Json


@dataclass(frozen=True, slots=True)
class Policy:
    """Settings of the auto-responder."""

    max_age: timedelta
    """Messages older than this are not answered."""
    handover_silence: timedelta
    """A hand-over ends after this long without activity."""
    loop: LoopBreaker
    install_defaults: bool
    answers: bool = True
    """Whether the auto-responder is on."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to the contact, or why there is none."""

    recipient: str
    status: str = "silent"
    reason: str = ""
    rule_id: str | None = None
    messages: tuple[tuple[str, Json], ...] = ()
    reply_to: str | None = None
    delay_seconds: float = 0


@dataclass(frozen=True, slots=True)
class HandOver:
    """Hands the conversation over to a person."""

    by: str
    department: str | None


@dataclass(frozen=True, slots=True)
class Changes:
    """Changes to the conversation, in the order in which they are applied."""

    wishes: tuple[tuple[Wish, str], ...] = ()
    """Opt-outs and opt-ins, each with the contact's words."""
    handover_alive: bool = False
    """The contact wrote to the person who has the conversation."""
    handover_ends: bool = False
    """The hand-over ends for lack of activity."""
    muted_until: datetime | None = None
    menu_shown: MenuRef | None = None
    menu_closed: bool = False
    tags: tuple[str, ...] = ()
    hand_over: tuple[HandOver, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """The decision; ``choice`` explains it."""

    reply: Reply
    changes: Changes = field(default_factory=Changes)
    choice: Choice | None = None


def fresh_texts(snapshot: Snapshot, policy: Policy) -> list[str]:
    """The texts to match rules against."""
    return texts_of([item.said for item in _fresh(snapshot, policy)])


def decide(snapshot: Snapshot, book: RuleBook, policy: Policy, *, explain: bool = False) -> Verdict:
    """Decide on the answer to the messages, and its other effects."""
    silent = Reply(recipient=snapshot.party.contact_key)
    if not snapshot.heard:
        return Verdict(replace(silent, reason="every message was answered before"))
    menu = snapshot.standing.shown(snapshot.at) if policy.answers else None
    wished, recorded = _wishes(snapshot, book, menu)
    changes = Changes(wishes=recorded)
    if not policy.answers:  # switched off after they arrived
        return Verdict(replace(silent, reason="the auto-responder is switched off"), changes)
    fresh = _fresh(snapshot, policy)
    if not fresh:
        reason = "the messages are too old to be answered"
        return Verdict(replace(silent, reason=reason), changes)
    if wished is None or wished.rule is None:  # opt-outs and opt-ins are always confirmed
        reason_silent, changes = _stay_silent(snapshot, fresh, policy, changes)
        if reason_silent is not None:
            return Verdict(replace(silent, reason=reason_silent), changes)
    if wished is not None:
        choice = Choice(wished.rule, wished.rule.response if wished.rule else None)
        if wished.rule is None:
            return Verdict(replace(silent, reason=wished.reason), changes, choice)
    else:
        situation = Situation(
            at=snapshot.at,
            phone_number_id=snapshot.party.phone_number_id,
            hours=snapshot.hours,
            first=snapshot.first,
            silence=snapshot.silence,
            menu=menu,
            uses=snapshot.uses,
        )
        choice = choose(book, [item.said for item in fresh], situation, explain=explain)
    return _answer(snapshot, choice, fresh, changes)


def _fresh(snapshot: Snapshot, policy: Policy) -> list[Heard]:
    return [item for item in snapshot.heard if snapshot.at - item.at <= policy.max_age]


@dataclass(frozen=True, slots=True)
class _Wished:
    rule: Rule | None
    reason: str = ""


def _wishes(
    snapshot: Snapshot, book: RuleBook, menu: MenuRef | None
) -> tuple[_Wished | None, tuple[tuple[Wish, str], ...]]:
    """Opt-outs and opt-ins to record, even if nothing is answered."""
    wished: _Wished | None = None
    recorded: list[tuple[Wish, str]] = []
    opted_out = bool(snapshot.opted_out)
    for item in snapshot.heard:
        said = pick(book, item.said, menu)
        wanted = None if said.reply_id and not item.said.reply_id else wish(item.said.text)
        if wanted is None:
            continue
        if (wanted is Wish.LEAVE) is not opted_out:
            opted_out = not opted_out
            recorded.append((wanted, item.said.text))
            wished = _Wished(_confirmation(book, wanted, snapshot.party))
        elif wanted is Wish.LEAVE:
            wished = wished or _Wished(None, "the contact opted out already, and was told so")
    return wished, tuple(recorded)


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


def _stay_silent(
    snapshot: Snapshot, fresh: list[Heard], policy: Policy, changes: Changes
) -> tuple[str | None, Changes]:
    """Why the bot stays silent, if it does: a person has the conversation, or the contact seems to be a bot."""
    now, standing = snapshot.at, snapshot.standing
    if standing.handover_at is not None:
        if now - (standing.handover_active_at or standing.handover_at) < policy.handover_silence:
            return "a person has the conversation", replace(changes, handover_alive=True)
        changes = replace(changes, handover_ends=True)
    if any(item.said.reply_id for item in fresh):  # bots do not tap buttons
        return None, changes
    if standing.muted_until is not None and standing.muted_until > now:
        until = standing.muted_until.isoformat()
        return f"it looks like a bot: silent until {until}", changes
    loop, answers = policy.loop, snapshot.answers.within_loop
    if answers < loop.exchanges:
        return None, changes
    reason = f"it looks like a bot: {answers} answers within {loop.seconds:g} seconds"
    return reason, replace(changes, muted_until=now + timedelta(seconds=loop.pause_seconds))


def _answer(snapshot: Snapshot, choice: Choice, heard: list[Heard], changes: Changes) -> Verdict:
    """The chosen answer as it is sent, and its other effects."""
    last = next((h for h in reversed(heard) if h.said.text == choice.said.text), heard[-1])
    reply = Reply(recipient=last.recipient, reply_to=last.wamid)
    rule = choice.rule
    if rule is None:
        return Verdict(replace(reply, reason="no rule matches"), changes, choice)
    said = " ".join(item.said.text for item in heard if item.said.text)
    fill = Fill(
        values(
            at=snapshot.at,
            hours=snapshot.hours,
            name=last.name,
            phone=last.recipient,
            message=said,
        )
    )
    reply = replace(
        reply,
        status="answered",
        rule_id=rule.id,
        delay_seconds=rule.delay_seconds,
        messages=tuple((kind.value, content) for kind, content in choice.response.messages(fill)),
    )
    actions = steps(choice.response)
    tags = dict.fromkeys(step.tag for step in actions if isinstance(step, AddTag))
    changes = replace(
        changes,
        menu_shown=choice.menu,
        menu_closed=choice.menu is None and rule.trigger.type != "Default",
        tags=tuple(tag for tag in tags if tag not in snapshot.standing.tags),
        hand_over=tuple(
            HandOver(f"rule:{rule.id}", step.department)
            for step in actions
            if isinstance(step, TransferToAgent)
        ),
    )
    return Verdict(reply, changes, choice)
