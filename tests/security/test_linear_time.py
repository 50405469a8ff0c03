"""All code that reads untrusted text takes linear time.

Each case is a text that is hostile to the code that reads it. If its size is multiplied by four, linear code
takes four times as long, quadratic code sixteen times. The test measures this thread's CPU time and takes
the best of several tries, so that other load on the machine does not matter.
"""

import contextlib
import email.utils
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
from pydantic import TypeAdapter, ValidationError

from api import language
from api.middleware import gate
from api.webhooks.schemas import EventName, Subscription
from pytake import problems
from pytake.contacts import identities as recipients
from pytake.conversations.rules import automaton, expressions, matching, text, triggers, variables
from pytake.conversations.rules.etiquette import wish
from pytake.conversations.rules.rules import RuleFields
from pytake.messages.content import HttpUrl
from pytake.sandbox import analytics, graph, validation
from pytake.webhooks import guard, headers
from pytake.webhooks import policies as delivery

ROOT: Final = Path(__file__).parents[2]
_GROWTH: Final = 4
_BOUND: Final = 9.0
"""Between 4 (linear) and 16 (quadratic)."""
_LEAST: Final = 0.0005
"""Seconds; below this, the measurement is mostly noise."""

_values = dict.fromkeys(variables.LONGEST, "x")
_event, _subscription = TypeAdapter[str](EventName), TypeAdapter[str](Subscription)
_url = TypeAdapter[str](HttpUrl)


def _rule(template: str) -> None:
    response = {"action": "SendMessage", "text": template}
    RuleFields.model_validate({"name": "r", "trigger": {"type": "Default"}, "response": response})


def _find(content: str) -> list[int]:
    return automaton.Automaton(["(a*)*b", "(a|aa)+$", "x[aé]{1,40}y"]).search(content)


def _pattern(pattern: str) -> None:
    triggers.PatternTrigger(type="Pattern", pattern=pattern)


CASES: Final[dict[str, tuple[Callable[[str], Any], Callable[[int], str], int]]] = {
    "variables: opened, spaces": (variables.check, lambda n: "{{" + " " * n, 4_000),
    "variables: opened often": (variables.check, lambda n: "{{ " * n, 20_000),
    "variables: a fallback without an end": (variables.check, lambda n: "{{a|" * n, 20_000),
    "variables: filled in": (
        lambda t: variables.render(t, _values),
        lambda n: ", {{" + " " * n,
        4_000,
    ),
    "variables: commas": (
        lambda t: variables.render(t, _values),
        lambda n: ", " * n + "{{",
        20_000,
    ),
    "variables: in a rule": (_rule, lambda n: "{{" + " " * n, 1_000),
    "folding: marks in no order": (text.fold, lambda n: "a" + "\u0301\u0316" * n, 5_000),
    "folding: marks in no order, accents kept": (
        lambda t: text.fold(t, accents=True),
        lambda n: "a" + "\u0301\u0316" * n,
        5_000,
    ),
    "folding: marks in order": (text.fold, lambda n: "a" + "\u0316" * n + "\u0301" * n, 20_000),
    "folding: marks that take place": (
        text.fold,
        lambda n: "a" + "\U0001d16d\U0001d165" * n,
        5_000,
    ),
    "folding: ligatures": (text.fold, lambda n: "\ufdfa" * n, 2_000),
    "opt-out words": (wish, lambda n: "." * n + "sair" + " " * n, 100_000),
    "expressions of rules": (_find, lambda n: "a" * n, 50_000),
    "a wrong expression": (_pattern, lambda n: "(" * n + "[", 250),
    "phone numbers: digits": (recipients.normalise, lambda n: "1" * n, 20_000),
    "phone numbers: spaces": (recipients.normalise, lambda n: "1" + " " * n + "1", 20_000),
    "phone numbers: brackets": (recipients.normalise, lambda n: "+" + "(" * n + "1", 20_000),
    "phone numbers: as long as the library reads": (
        recipients.normalise,
        lambda n: "1-(" * n + "1",
        20,
    ),
    "user ids": (recipients.is_user_id, lambda n: "BR." + "a" * n, 200_000),
    "contacts": (recipients.contact_key, lambda n: "55" + "9" * n, 200_000),
    "languages": (language.preferred, lambda n: "pt;q=0.1," * n, 50_000),
    "names of fields": (lambda t: problems._path(("content", t)), lambda n: "A" * n + "-", 200_000),
    "addresses of webhooks": (guard.check_url, lambda n: "http://" + "a." * n, 250),
    "addresses of webhooks: IPv6": (guard.check_url, lambda n: "http://[" + ":" * n, 400),
    "names of headers": (
        guard.FORBIDDEN_HEADERS.fullmatch,
        lambda n: "content-" + "a" * n + "\n",
        100_000,
    ),
    "values of headers": (headers.value_problem, lambda n: "a" + " " * n, 100_000),
    "Retry-After": (
        lambda t: delivery.parse_retry_after(t, datetime.now(UTC)),
        lambda n: "Mon, " + "1 " * n,
        20_000,
    ),
    "dates of mail": (email.utils.parsedate_tz, lambda n: "(" * n + " 1", 50_000),
    "names of events": (_event.validate_python, lambda n: "a." * n, 20),
    "subscriptions": (_subscription.validate_python, lambda n: "a." * n + "*", 20),
    "addresses in content": (_url.validate_python, lambda n: "https://" + "a" * n + " ", 500),
    "JSON": (json.loads, lambda n: "[" + "9" * 4_000 + "1," * n, 50_000),
    "JSON: depth": (json.loads, lambda n: "[" * n, 50_000),
    "words marked": (expressions.marked, lambda n: "a " * n + "a" * n, 20_000),
    "paths": (gate._PUBLIC.fullmatch, lambda n: "/swagger/" + "." * n + "/", 100_000),
    "signatures": (
        lambda t: gate._SIGNATURE.fullmatch(t.encode()),
        lambda n: "sha256=" + "a" * n,
        100_000,
    ),
    "sandbox: fields": (graph.read_fields, lambda n: "a.b(" * n, 5_000),
    "sandbox: fields of fields": (graph.read_fields, lambda n: "{a" * n, 10_000),
    "sandbox: arguments": (analytics._ARGUMENT.findall, lambda n: ".b(" * n, 5_000),
}

_TRIED: Final = {
    problems,
    recipients,
    triggers,
    variables,
    text,
    guard,
    headers,
    analytics,
    graph,
    validation,
    matching,
    expressions,
    gate,
}
_NO_STRANGERS: Final = {
    "pytake/webhooks/event_types.py",
    "pytake/commands/numbers.py",
    "pytake/commands/terminal.py",
}
"""Modules whose expressions go to pydantic, whose matcher is linear, or read an operator's input."""


def _seconds(call: Callable[[str], Any], content: str) -> float:
    best = float("inf")
    for _ in range(4):
        started = time.thread_time()
        with contextlib.suppress(ValueError, ValidationError, RecursionError):
            call(content)
        best = min(best, time.thread_time() - started)
    return best


@pytest.mark.parametrize("name", CASES)
def test_four_times_the_text_takes_no_more_than_four_times_as_long(name: str) -> None:
    call, make, size = CASES[name]
    small, large = _seconds(call, make(size)), _seconds(call, make(_GROWTH * size))
    assert large < _BOUND * max(small, _LEAST), f"{small:.4f} s, then {large:.4f} s"


def test_the_sandbox_reads_what_it_is_sent_in_linear_time() -> None:
    for content in ("\n" * 100_000, " " * 400_000, "https://" + "a" * 400_000):
        started = time.thread_time()
        for used in (r"[\n\t]| {5}", r"https?://[^\s/]+", r"[\s()+.-]"):
            assert used in Path(validation.__file__).read_text()
            validation.re.search(used, content)
        assert time.thread_time() - started < 1


def test_every_module_with_backtracking_or_normalisation_has_a_case() -> None:
    """A new module needs a case above."""
    found = set()
    for folder in ("pytake", "api", "activities", "workflows", "worker.py"):
        path = ROOT / folder
        for file in [path] if path.suffix else path.rglob("*.py"):
            lines = file.read_text().splitlines()
            if {"import re", "import unicodedata"} & set(lines):
                found.add(str(file.relative_to(ROOT)))
    tried = {str(Path(str(module.__file__)).relative_to(ROOT)) for module in _TRIED}
    assert found - tried <= _NO_STRANGERS
