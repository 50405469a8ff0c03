"""Matching of rules, and validation of rules, variables and hours."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import re2
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pytake.conversations.rules import automaton, variables
from pytake.conversations.rules.automaton import Automaton
from pytake.conversations.rules.default_rules import DEFAULT_RULES
from pytake.conversations.rules.etiquette import Wish, wish
from pytake.conversations.rules.hours import BusinessHours
from pytake.conversations.rules.matching import RuleBook
from pytake.conversations.rules.responder import Situation, choose
from pytake.conversations.rules.rules import Rule, RuleFields
from pytake.conversations.rules.said import Said, read_said, unanswerable
from pytake.conversations.rules.text import fold
from pytake.conversations.rules.triggers import pattern_options

AT = datetime(2026, 11, 24, 15, tzinfo=UTC)
MATCH_TYPES = ("Exact", "Contains", "StartsWith", "EndsWith", "WholeWord")
ANSWER = {"action": "SendMessage", "text": "x"}
texts = st.text(max_size=60)
latin = st.text(st.sampled_from("abcçãéíôü ABCÇÃÉÍÔÜ 0123"), min_size=1, max_size=30)
words = st.text(min_size=1, max_size=20).filter(fold)


def rule(rule_id: str = "r", **fields: Any) -> Rule:
    return Rule.model_validate(
        {"id": rule_id, "name": rule_id, "response": ANSWER, "created_at": AT, **fields}
    )


def keyword(word: str, match_type: str = "Contains", **fields: Any) -> Rule:
    trigger = {"type": "Keyword", "words": [word], "match_type": match_type, **fields}
    return rule(match_type, trigger=trigger)


def matched(text: str, *rules: Rule) -> set[str]:
    return set(RuleBook(rules).match(Said(text)))


@given(texts, words)
def test_no_text_breaks_matching_and_exact_implies_the_others(text: str, word: str) -> None:
    found = matched(text, *(keyword(word, kind) for kind in MATCH_TYPES))
    if "Exact" in found:
        assert found == set(MATCH_TYPES)
    if found:
        assert "Contains" in found


@given(words)
def test_a_word_matches_itself_in_every_way(word: str) -> None:
    assert matched(word, *(keyword(word, kind) for kind in MATCH_TYPES)) == set(MATCH_TYPES)


@given(latin, words)
def test_case_and_accents_make_no_difference(text: str, word: str) -> None:
    rules = [keyword(word, kind) for kind in MATCH_TYPES]
    plain = matched(text, *rules)
    assert matched(text.upper(), *rules) == plain
    assert matched(text.lower(), *rules) == plain
    assert matched(fold(text), *rules) == plain


@given(texts)
def test_folding_is_idempotent(text: str) -> None:
    for accents in (False, True):
        assert fold(fold(text, accents=accents), accents=accents) == fold(text, accents=accents)


@given(st.lists(words, min_size=1, max_size=20), texts)
def test_one_pass_finds_what_each_rule_alone_finds(several: list[str], text: str) -> None:
    rules = [
        rule(str(i), trigger={"type": "Keyword", "words": [word], "match_type": MATCH_TYPES[i % 5]})
        for i, word in enumerate(several)
    ]
    together = matched(text, *rules)
    assert together == {r.id for r in rules if matched(text, r)}


@given(st.text(st.sampled_from("ab[]()*+?.|^$\\{}1,çã"), min_size=1, max_size=12), texts)
def test_any_pattern_is_refused_when_saved_or_works(pattern: str, text: str) -> None:
    try:
        re2.compile(pattern, options=pattern_options())
    except re2.error:
        with pytest.raises(ValidationError, match="regular expression"):
            rule(trigger={"type": "Pattern", "pattern": pattern})
    else:
        matched(text, rule(trigger={"type": "Pattern", "pattern": pattern}))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | texts,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
        max_leaves=8,
    ),
    st.sampled_from(["text", "button", "interactive", "image", "nonsense"]),
)
def test_no_payload_breaks_reading_it(part: Any, kind: str) -> None:
    payload = {"type": kind, kind: part}
    assert isinstance(read_said(kind, payload), Said)
    unanswerable(kind, payload)


def test_patterns_that_do_not_fit_in_one_automaton_still_match(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expressions = [f"{letter}{number}" for letter in "abç" for number in range(400)] + ["x{500}"]
    text = "zç399 a0" + "x" * 500
    for memory in (4 << 20, 20_000, 1):  # in a few, in many, in none
        monkeypatch.setattr(automaton, "_MEMORY", memory)
        many = Automaton(expressions, words=True)
        assert {expressions[i] for i in many.search(text)} == {"a0", "ç3", "ç39", "ç399", "x{500}"}
        assert many.search("") == []
    compiled = [piece._compiled or piece for piece in many._sets]
    many.search(text)
    # The fall-backs are compiled once, not for every text.
    assert all(
        a is b
        for a, b in zip(compiled, [piece._compiled or piece for piece in many._sets], strict=True)
    )


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("PROMOÇÃO", True),
        ("promocao", True),
        ("a  pro\u200bmoção!", True),
        ("prumoção", False),
        ("", False),
    ],
)
def test_the_example_folds(text: str, found: bool) -> None:
    assert bool(matched(text, keyword("promoção"))) is found


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("PARAR", Wish.LEAVE),
        ("sair.", Wish.LEAVE),
        ("Não quero mais receber!", Wish.LEAVE),
        ("STOP", Wish.LEAVE),
        ("Voltar", Wish.RETURN),
        ("quero parar de pagar", None),
        ("cancelar pedido", None),
        ("", None),
    ],
)
def test_an_opt_out_word_counts_only_as_the_whole_message(text: str, wanted: Wish | None) -> None:
    assert wish(text) is wanted


def test_the_default_rules_are_valid_and_answer() -> None:
    book = RuleBook(Rule.model_validate({**fields, "created_at": AT}) for fields in DEFAULT_RULES)
    situation = Situation(AT, "1", BusinessHours(), first=False)
    assert {f["id"] for f in DEFAULT_RULES} == {
        choose(book, [Said("", reply_id=f["id"])], situation).rule.id  # type: ignore[union-attr]
        for f in DEFAULT_RULES
    }


REFUSED = [
    ({"response": {"action": "SendMessage", "text": "x" * 4097}}, "4096"),
    ({"response": {"action": "SendMessage", "text": "x" * 4090 + "{{name}}"}}, "4096"),
    ({"response": {"action": "SendMessage", "text": "oi {{nme}}"}}, "is not a variable"),
    (
        {
            "response": {
                "action": "SendMessage",
                "text": "x",
                "buttons": [{"id": str(i), "title": str(i)} for i in range(4)],
            }
        },
        "at most 3",
    ),
    (
        {
            "response": {
                "action": "SendMessage",
                "text": "x",
                "buttons": [{"id": "a", "title": "x" * 21}],
            }
        },
        "20",
    ),
    (
        {
            "response": {
                "action": "SendMessage",
                "text": "x" * 1025,
                "buttons": [{"id": "a", "title": "a"}],
            }
        },
        "1024",
    ),
    (
        {
            "response": {
                "action": "SendMenu",
                "text": "x",
                "options": [{"id": str(i), "title": str(i)} for i in range(11)],
            }
        },
        "at most 10",
    ),
    (
        {
            "response": {
                "action": "SendMenu",
                "text": "x",
                "options": [{"id": "a", "title": "a", "description": "b"}],
            }
        },
        "no description",
    ),
    (
        {
            "response": {
                "action": "SendMenu",
                "text": "x",
                "options": [{"id": "a", "title": "x" * 22}],
            }
        },
        "20",
    ),
    (
        {
            "response": {
                "action": "SendMenu",
                "text": "x",
                "options": [
                    {
                        "id": "a",
                        "title": "a",
                        "response": {
                            "action": "SendMenu",
                            "text": "y",
                            "options": [{"id": "a", "title": "b"}],
                        },
                    }
                ],
            }
        },
        "must differ",
    ),
    (
        {
            "response": {
                "action": "SendMedia",
                "media_type": "audio",
                "url": "https://x/a",
                "caption": "b",
            }
        },
        "no caption",
    ),
    (
        {"response": {"action": "Sequence", "actions": [{"action": "Sequence", "actions": []}]}},
        "action",
    ),
    ({"response": {"action": "Nothing"}}, "Nothing"),
    ({"trigger": {"type": "Keyword", "words": ["\u200b"]}}, "no character"),
    ({"trigger": {"type": "Pattern", "pattern": "a(b"}}, "missing ) at character 2"),
    ({"trigger": {"type": "Pattern", "pattern": "(?=a)"}}, "at character 1"),
    ({"business_hours_only": True, "outside_hours_only": True}, "not both"),
    ({"uses_period_seconds": 60}, "needs max_uses_per_contact"),
    (
        {"valid_from": "2026-02-01T00:00:00Z", "valid_until": "2026-01-01T00:00:00Z"},
        "must be after",
    ),
    ({"delay_seconds": 90_000}, "82800"),
    ({"valid_from": "2026-02-01T00:00:00"}, "timezone"),
]


@pytest.mark.parametrize(("change", "message"), REFUSED)
def test_a_response_that_cannot_be_sent_is_refused_on_save(
    change: dict[str, Any], message: str
) -> None:
    fields = {"name": "r", "trigger": {"type": "Default"}, "response": ANSWER, **change}
    with pytest.raises(ValidationError, match=r"(?s).*") as refused:
        RuleFields.model_validate(fields)
    assert message in str(refused.value)


def test_menus_nest_five_deep_and_no_deeper() -> None:
    def nested(depth: int) -> dict[str, Any]:
        option: dict[str, Any] = {"id": f"o{depth}", "title": f"o{depth}"}
        if depth > 1:
            option["response"] = nested(depth - 1)
        return {"action": "SendMenu", "text": "x", "options": [option]}

    rule(trigger={"type": "Default"}, response=nested(5))
    with pytest.raises(ValidationError, match="at most 5 deep"):
        rule(trigger={"type": "Default"}, response=nested(6))


@pytest.mark.parametrize(
    ("template", "values", "rendered"),
    [
        ("Olá, {{name}}!", {"name": "Ana"}, "Olá, Ana!"),
        ("Olá, {{name}}!", {}, "Olá!"),
        ("Olá, {{ nome | amigo }}!", {}, "Olá, amigo!"),
        ("{{primeiro_nome}}", {"first_name": "x" * 99}, "x" * 30),
        ("{{message}}", {"message": "{{name}}", "name": "no"}, "{{name}}"),
        ("{ {name} }", {"name": "a"}, "{ {name} }"),
    ],
)
def test_variables(template: str, values: dict[str, str], rendered: str) -> None:
    variables.check(template)
    assert variables.render(template, values) == rendered


@given(texts, st.dictionaries(st.sampled_from(sorted(variables.LONGEST)), texts))
def test_rendered_text_never_exceeds_the_checked_length(
    prefix: str, values: dict[str, str]
) -> None:
    template = prefix + "".join(f" {{{{{name}}}}}" for name in variables.LONGEST)
    assert len(variables.render(template, values)) <= len(variables.longest(template))


def test_hours_over_midnight_and_the_day_the_clock_jumps() -> None:
    hours = BusinessHours.model_validate(
        {
            "timezone": "Europe/Berlin",
            "holidays": None,
            "weekly": {"saturday": [{"start": "22:00", "end": "04:00"}]},
        }
    )
    # 2027-03-28, a Sunday: 02:00 becomes 03:00, so the night is five hours long.
    start = datetime(2027, 3, 27, 21, tzinfo=UTC)
    assert [hours.is_open(start + timedelta(hours=h)) for h in range(-1, 6)] == [
        False,
        True,
        True,
        True,
        True,
        True,
        False,
    ]
    assert hours.closed_since(start + timedelta(hours=10)) == start + timedelta(hours=5)
    assert hours.next_opening(start) == datetime(2027, 4, 3, 20, tzinfo=UTC)


@given(st.integers(0, 4 * 365 * 86400))
def test_a_closed_period_starts_right_after_an_open_one(seconds: int) -> None:
    hours, at = BusinessHours(), AT + timedelta(seconds=seconds)
    since, opens = hours.closed_since(at), hours.next_opening(at)
    assert opens is not None
    assert hours.is_open(opens)
    assert hours.is_open(since - timedelta(seconds=1))
    if not hours.is_open(at):
        assert since <= at < opens
        assert hours.closed_since(opens - timedelta(seconds=1)) == since


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"timezone": "Mars/Olympus"}, "IANA"),
        ({"weekly": {"monday": [{"start": "9:00", "end": "18:00"}]}}, "pattern"),
        ({"weekly": {"someday": []}}, "monday"),
        ({"holidays": {"country": "BR", "state": "XX"}}, "SP"),
        ({"holidays": {"country": "ZZ"}}, "no holidays"),
        ({"dates": [{"date": "2026-12-24"}, {"date": "2026-12-24"}]}, "once"),
    ],
)
def test_inconsistent_hours_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        BusinessHours.model_validate(change)
