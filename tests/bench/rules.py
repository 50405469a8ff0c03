"""Rule matching: 1,000 rules against messages of 4,096 characters."""

import random
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial

from pytake.conversations.rules.hours import BusinessHours
from pytake.conversations.rules.matching import RuleBook
from pytake.conversations.rules.responder import Situation, choose
from pytake.conversations.rules.rules import Rule
from pytake.conversations.rules.said import Said
from tests.bench.measure import Figure

_SYLLABLES = [
    "ca",
    "ção",
    "ma",
    "pro",
    "de",
    "ri",
    "to",
    "pe",
    "xi",
    "lo",
    "nha",
    "vê",
    "bra",
    "são",
    "qui",
    "zé",
    "fa",
    "lu",
    "go",
    "tá",
]
_KINDS = ("Exact", "Contains", "StartsWith", "EndsWith", "WholeWord")
_RULES, _LENGTH, _MESSAGES, _ROUNDS = 1000, 4096, 200, 5


def rules() -> Iterator[Figure]:
    """Compiling once, then matching and choosing, message by message."""
    chance = random.Random(7)  # noqa: S311 - the same rules in every run
    made = [_rule(chance, index) for index in range(_RULES)]
    situation = Situation(datetime(2026, 11, 24, 15, tzinfo=UTC), "1", BusinessHours())
    messages = [Said(_text(chance)) for _ in range(_MESSAGES)]
    compiling, first = [], []
    for _ in range(_ROUNDS):
        started = time.perf_counter()
        book = RuleBook(made)
        compiling.append((time.perf_counter() - started) * 1000)
        first.append(_timed(partial(book.match, messages[0])))
    matching, choosing = [], []
    for _ in range(_ROUNDS):
        matching.append(_timed(lambda: [book.match(said) for said in messages]) / _MESSAGES)
        choosing.append(
            _timed(lambda: [choose(book, [said], situation) for said in messages]) / _MESSAGES
        )
    note = f"{_RULES} rules, {_LENGTH} characters"
    yield Figure("rules: compile", "ms", tuple(compiling), note)
    yield Figure("rules: first match (builds the automaton)", "us", tuple(first), note)
    yield Figure("rules: match one message", "us", tuple(matching), note)
    yield Figure("rules: match and choose the answer", "us", tuple(choosing), note)


def _timed(call: object) -> float:
    started = time.perf_counter()
    call()  # type: ignore[operator]
    return (time.perf_counter() - started) * 1e6


def _word(chance: random.Random) -> str:
    return "".join(chance.choices(_SYLLABLES, k=chance.randint(2, 5)))


def _text(chance: random.Random) -> str:
    text = ""
    while len(text) < _LENGTH:
        text += _word(chance) + " "
    return text[:_LENGTH]


def _rule(chance: random.Random, index: int) -> Rule:
    trigger: dict[str, object] = {
        "type": "Keyword",
        "words": [f"{_word(chance)} {_word(chance)}" for _ in range(3)],
        "match_type": _KINDS[index % len(_KINDS)],
    }
    if index % 10 == 0:
        trigger = {"type": "Pattern", "pattern": rf"{_word(chance)}\s+(n[ºo])?\s*\d{{3,8}}"}
    return Rule.model_validate(
        {
            "id": f"r{index}",
            "name": "r",
            "trigger": trigger,
            "priority": index % 100,
            "response": {"action": "SendMessage", "text": "x"},
            "created_at": datetime(2026, 1, 1, tzinfo=UTC),
        }
    )
