"""Which rule answers, and why not the others. Pure: the situation is handed in."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from pytake.conversations.rules.hours import BusinessHours
from pytake.conversations.rules.matching import RuleBook, Specificity
from pytake.conversations.rules.rules import Rule, at_path, choices
from pytake.conversations.rules.said import Said
from pytake.conversations.rules.text import fold
from pytake.conversations.rules.triggers import (
    AwayTrigger,
    DefaultTrigger,
    OptTrigger,
    OutOfHoursTrigger,
    WelcomeTrigger,
)

_READ_AS_ONE: Final = 16_384
"""Characters: the last ones of a burst, four messages of the greatest length."""
_LONGEST_CHOICE: Final = 200
"""Characters: what is longer names no option of a menu, whose titles have 24 at most."""
_SITUATION: Final = (1, 0)
"""Specificity of triggers that look at the situation, not at the message."""


@dataclass(frozen=True, slots=True)
class MenuRef:
    """A choice that was offered: a rule, and the way through its nested menus."""

    rule_id: str
    path: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Uses:
    """How often a rule answered a contact."""

    count: int = 0
    last_at: datetime | None = None
    since: Mapping[datetime, int] = field(default_factory=dict)
    """How often since the starts of periods that rules count in."""


_UNUSED: Final = Uses()


@dataclass(frozen=True, slots=True)
class Situation:
    """Everything outside the message that rules look at."""

    at: datetime
    phone_number_id: str
    hours: BusinessHours
    first: bool = False
    """Whether it is the contact's first message ever."""
    silence: timedelta | None = None
    """Time since the contact's last message before these."""
    menu: MenuRef | None = None
    uses: Mapping[str, Uses] = field(default_factory=dict)
    """Of the rules that :func:`limited` names."""


@dataclass(frozen=True, slots=True)
class Reason:
    """What a rule came to."""

    rule_id: str
    matched: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Choice:
    """What is answered; ``menu`` is the choice it offers, if it offers one."""

    rule: Rule | None = None
    response: Any = None
    menu: MenuRef | None = None
    said: Said = field(default_factory=Said)
    reasons: list[Reason] = field(default_factory=list)


def choose(
    book: RuleBook, burst: list[Said], situation: Situation, *, explain: bool = False
) -> Choice:
    """The answer to a contact's messages that came within a short time; one answer for all.

    An option of the menu the contact was shown goes first. Among rules: priority, then the most
    specific match, then the oldest; Default rules come last, whatever their priority.
    """
    burst = [pick(book, said, situation.menu) for said in burst]
    chosen = _option(book, burst, situation)
    matches, whose = _matches(book, burst)
    reasons: list[Reason] = []
    candidates = book.rules if explain else {**book.situational, **dict.fromkeys(matches)}
    ordered = sorted((book.rules[key] for key in candidates), key=lambda r: _order(r, matches))
    for rule in ordered:
        if chosen is not None and not explain:
            break
        why = book.left_out.get(rule.id) or _refusal(rule, matches, situation)
        if why is None and chosen is not None:
            first = chosen.rule.name if chosen.rule else ""
            why = f"matches, but {first!r} goes first"
        elif why is None:
            said = whose.get(rule.id, burst[-1] if burst else Said())
            chosen = Choice(rule, rule.response, _menu(rule, (), rule.response), said)
        reasons.append(Reason(rule.id, why is None, why or "matches"))
    if chosen is None:
        return Choice(said=burst[-1] if burst else Said(), reasons=reasons)
    if explain and chosen.rule and not any(reason.matched for reason in reasons):
        reasons = [
            Reason(r.rule_id, True, "the contact picked an option of its menu")
            if r.rule_id == chosen.rule.id
            else r
            for r in reasons
        ]
    return Choice(chosen.rule, chosen.response, chosen.menu, chosen.said, reasons)


def pick(book: RuleBook, said: Said, menu: MenuRef | None) -> Said:
    """The message with the id of the menu's option it names by number or title, if it does."""
    if menu is None or said.reply_id is not None or menu.rule_id not in book.rules:
        return said
    if len(said.text) > _LONGEST_CHOICE:
        return said
    typed = fold(said.text).rstrip(".)ºª°")
    options = choices(at_path(book.rules[menu.rule_id].response, menu.path))
    for number, option in enumerate(options, 1):
        if typed in (str(number), fold(option.title)):
            return Said(said.text, option.id, None, said.media)
    return said


def _option(book: RuleBook, burst: list[Said], situation: Situation) -> Choice | None:
    """The answer of the option that was picked: of the menu last shown, else of any rule's."""
    for said in reversed(burst):
        if said.reply_id is None:
            continue
        found = [
            (rule, path)
            for rule, path in book.options(said.reply_id)
            if rule.phone_number_id in (None, situation.phone_number_id)
        ]
        shown = situation.menu
        if not found:
            continue
        current = [
            (rule, path)
            for rule, path in found
            if shown is not None and rule.id == shown.rule_id and path[:-1] == shown.path
        ]
        rule, path = min(current or found, key=lambda item: _order(item[0], {}))
        response = at_path(rule.response, path)
        return Choice(rule, response, _menu(rule, path, response), said)
    return None


def _menu(rule: Rule, path: tuple[str, ...], response: Any) -> MenuRef | None:
    return MenuRef(rule.id, path) if choices(response) else None


def texts_of(burst: list[Said]) -> list[str]:
    """The texts that rules are matched with: of each of the messages, and of all read as one."""
    texts = [said.text for said in burst]
    if len(burst) > 1:
        texts.append(" ".join(text for text in texts if text)[-_READ_AS_ONE:])
    return texts


def _matches(book: RuleBook, burst: list[Said]) -> tuple[dict[str, Specificity], dict[str, Said]]:
    """Rules matched by any of the messages, or by all of them read as one."""
    readings = [*burst, *(Said(text) for text in texts_of(burst)[len(burst) :])]
    matches: dict[str, Specificity] = {}
    whose: dict[str, Said] = {}
    for said in readings:
        for rule_id, specificity in book.match(said).items():
            if specificity > matches.get(rule_id, (0, 0)):
                matches[rule_id] = specificity
                whose[rule_id] = said
    return matches, whose


def _order(rule: Rule, matches: Mapping[str, Specificity]) -> tuple[Any, ...]:
    kind, length = matches.get(rule.id, _SITUATION)
    last = isinstance(rule.trigger, DefaultTrigger)
    return last, -rule.priority, -kind, -length, rule.created_at, rule.id


def _refusal(rule: Rule, matches: Mapping[str, Specificity], situation: Situation) -> str | None:
    """Why a rule does not answer here; ``None`` if it would."""
    if not rule.active:
        return "it is switched off"
    if rule.phone_number_id not in (None, situation.phone_number_id):
        return f"it is for number {rule.phone_number_id} only"
    return (
        _trigger_refusal(rule, matches, situation)
        or _time_refusal(rule, situation)
        or _limit_refusal(rule, situation)
    )


def _trigger_refusal(
    rule: Rule, matches: Mapping[str, Specificity], situation: Situation
) -> str | None:
    trigger = rule.trigger
    if rule.id in matches or isinstance(trigger, DefaultTrigger):
        return None
    if isinstance(trigger, WelcomeTrigger):
        return _welcome_refusal(trigger, situation)
    if isinstance(trigger, OutOfHoursTrigger):
        if situation.hours.is_open(situation.at):
            return "it is within business hours"
        last = situation.uses.get(rule.id, _UNUSED).last_at
        if last is not None and last > situation.hours.closed_since(situation.at):
            return "the contact was told already that it is closed"
        return None
    if isinstance(trigger, AwayTrigger):
        return None if situation.hours.away else "away is not set"
    if isinstance(trigger, OptTrigger):
        return "it confirms the words that leave and come back"
    return "the message does not match its trigger"


def _welcome_refusal(trigger: WelcomeTrigger, situation: Situation) -> str | None:
    if situation.first:
        return None
    hours = trigger.after_silence_hours
    if hours is None:
        return "it is not the contact's first message"
    if situation.silence is None or situation.silence < timedelta(hours=hours):
        return f"the contact wrote within the last {hours:g} hours"
    return None


def _time_refusal(rule: Rule, situation: Situation) -> str | None:
    at = situation.at
    if rule.valid_from and at < rule.valid_from:
        return f"it is valid from {rule.valid_from.isoformat()}"
    if rule.valid_until and at >= rule.valid_until:
        return f"it was valid until {rule.valid_until.isoformat()}"
    if rule.business_hours_only and not situation.hours.is_open(at):
        return "it answers in business hours only"
    if rule.outside_hours_only and situation.hours.is_open(at):
        return "it answers outside business hours only"
    return None


def limited(book: RuleBook, phone_number_id: str, at: datetime) -> tuple[list[str], list[datetime]]:
    """Rules whose earlier uses may keep them from answering, and the starts of periods they count in."""
    rules = [
        rule
        for rule in book.rules.values()
        if rule.active
        and rule.phone_number_id in (None, phone_number_id)
        and (
            rule.cooldown_seconds is not None
            or rule.max_uses_per_contact is not None
            or isinstance(rule.trigger, OutOfHoursTrigger)
        )
    ]
    starts = {start for rule in rules if (start := _period_start(rule, at)) is not None}
    return [rule.id for rule in rules], sorted(starts)


def _period_start(rule: Rule, at: datetime) -> datetime | None:
    period = rule.uses_period_seconds
    return at - timedelta(seconds=period) if period else None


def _limit_refusal(rule: Rule, situation: Situation) -> str | None:
    used = situation.uses.get(rule.id, _UNUSED)
    if rule.cooldown_seconds is not None and used.last_at is not None:
        free = used.last_at + timedelta(seconds=rule.cooldown_seconds)
        if free > situation.at:
            return f"it answered the contact already and rests until {free.isoformat()}"
    if rule.max_uses_per_contact is not None:
        start = _period_start(rule, situation.at)
        count = used.count if start is None else used.since.get(start, 0)
        if count >= rule.max_uses_per_contact:
            return f"the contact got it {count} times, of at most {rule.max_uses_per_contact}"
    return None
