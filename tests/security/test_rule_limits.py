"""Limits of what one tenant's rules may cost others: memory, and time per message."""

import json
import random
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any, Final

import pytest

from pytake.conversations.rules import budget
from pytake.conversations.rules.budget import Weight, weigh
from pytake.conversations.rules.hours import BusinessHours
from pytake.conversations.rules.matching import RuleBook, UnreadTextError
from pytake.conversations.rules.responder import Situation, choose
from pytake.conversations.rules.rules import Rule
from pytake.conversations.rules.said import Said

AT: Final = datetime(2026, 11, 24, 15, tzinfo=UTC)

_ATTACK: Final = """
import json, resource, time
from pytake.conversations.rules.matching import RuleBook
from pytake.conversations.rules.said import Said
from tests.security.test_rule_limits import TEXT, heavy
made = heavy()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
started = time.process_time()
book = RuleBook(made)
book.match(Said(TEXT))
built = time.process_time()
book.match(Said(TEXT[::-1]))
print(json.dumps({
    "megabytes": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024,
    "building": built - started, "matching": time.process_time() - built,
    "left_out": len(book.left_out),
}))
"""


def rule(rule_id: str, **trigger: Any) -> Rule:
    return Rule.model_validate(
        {
            "id": rule_id,
            "name": rule_id,
            "trigger": trigger,
            "created_at": AT,
            "response": {"action": "SendMessage", "text": "x"},
        }
    )


TEXT: Final = "".join(random.Random(5).choices("abcdé ", k=4096))  # noqa: S311 - no secret


def heavy() -> list[Rule]:
    """20 rules of 200 words of 200 characters."""
    chance = random.Random(3)  # noqa: S311 - the same words in every run
    return [
        rule(
            str(index),
            type="Keyword",
            match_type="WholeWord",
            words=["".join(chance.choices("abcdé ", k=198)) + "xx" for _ in range(200)],
        )
        for index in range(20)
    ]


def test_20_rules_of_200_words_of_200_characters_stay_cheap() -> None:
    """Before the limits they took 1,377 MB, 9.0 s to compile and 6.8 s per message."""
    ran = subprocess.run(  # a separate process, to measure its memory
        [sys.executable, "-c", _ATTACK], capture_output=True, text=True, check=True
    )
    took = json.loads(ran.stdout)
    assert took["megabytes"] < 150
    assert took["building"] < 3
    assert took["matching"] < 0.5
    assert 0 < took["left_out"] < 20


def test_rules_beyond_the_limits_are_left_out_with_a_problem() -> None:
    """Such rules exist if they were saved before there were limits."""
    made = heavy()
    book = RuleBook(made)
    beyond = [r for r in made if r.id in book.left_out]
    assert beyond
    assert beyond == made[-len(beyond) :]  # earlier rules keep answering
    said = Said(beyond[0].trigger.words[0], reply_id=beyond[0].id)  # type: ignore[union-attr]
    assert book.match(said) == {}
    first = Said(made[0].trigger.words[0])  # type: ignore[union-attr]
    assert set(book.match(first)) == {made[0].id}
    choice = choose(book, [said], Situation(AT, "1", BusinessHours()), explain=True)
    reasons = {reason.rule_id: reason.reason for reason in choice.reasons}
    assert reasons[beyond[0].id] == book.left_out[beyond[0].id]
    assert "bytes of words" in reasons[beyond[0].id]


@pytest.mark.parametrize(
    ("trigger", "field", "what"),
    [
        (
            {"type": "Keyword", "words": [f"{i}" + "é" * 190 for i in range(200)]},
            "trigger.words",
            "bytes of words",
        ),
        ({"type": "Pattern", "pattern": r"[\pL]{4}"}, "trigger.pattern", "instructions"),
    ],
)
def test_the_total_of_all_rules_is_limited(trigger: dict[str, Any], field: str, what: str) -> None:
    total, one = Weight(), weigh(rule("r", **trigger))
    for _ in range(1000):
        problem = total.excess(one)
        if problem is not None:
            break
        total += one
    assert problem is not None
    assert total != Weight()
    assert problem[0] == field
    assert what in problem[1]
    # A change that reduces the total is always accepted.
    assert (total + total).excess(one, one) is None


def test_a_patterns_weight_is_its_compiled_size() -> None:
    light, heavier = (
        weigh(rule("r", type="Pattern", pattern=pattern)).pattern_size
        for pattern in (r"pedido\s+(n[ºo])?\s*\d{3,8}", r"[\pL]{8}")
    )
    assert light < 60
    assert heavier > 100 * light


def test_a_prepared_book_does_no_matching_in_the_transaction() -> None:
    book = RuleBook([rule("r", type="Keyword", words=["oi"])])
    read = book.having_read(["oi, tudo bem?"])
    assert read.match(Said("oi, tudo bem?")) == book.match(Said("oi, tudo bem?")) != {}
    assert read.match(Said("", reply_id="r")) != {}
    with pytest.raises(UnreadTextError):
        read.match(Said("oi"))


def test_every_limit_names_a_field_of_rules() -> None:
    names = set(Weight.__dataclass_fields__)
    assert set(budget._BOUNDS) == names
