"""How much a tenant's rules may weigh: what they cost in memory, and in time for every message.

Words cost a few bytes and next to no time each. A regular expression can be written so that every character
of a message takes time in proportion to its program: 10,000 instructions against 4,096 characters took 1.0 s
in the worst case that was found (measured in 2026-11), three hundred ordinary expressions take microseconds.
"""

from collections.abc import Iterable
from dataclasses import astuple, dataclass
from typing import Final

import re2

from pytake.conversations.rules.expressions import pattern_expression
from pytake.conversations.rules.rules import Rule, RuleFields
from pytake.conversations.rules.text import fold
from pytake.conversations.rules.triggers import (
    KeywordTrigger,
    PatternTrigger,
    ReplyTrigger,
    pattern_options,
)


@dataclass(frozen=True, slots=True)
class Weight:
    """What rules weigh."""

    words: int = 0
    """Words of Keyword triggers, and ids of Reply triggers."""
    word_bytes: int = 0
    """Their UTF-8, as it is looked for."""
    pattern_size: int = 0
    """Instructions of the programs that RE2 makes of regular expressions."""
    body_bytes: int = 0
    """The rules' JSON."""

    def __add__(self, other: "Weight") -> "Weight":
        return Weight(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    def excess(self, added: "Weight", instead_of: "Weight | None" = None) -> tuple[str, str] | None:
        """What is too much once ``added`` has come, as the field it is in and a sentence.

        What ``added`` has no more of than what it replaces is not too much.
        """
        for name, (field, most, what) in _BOUNDS.items():
            total = getattr(self, name) + getattr(added, name)
            if total > most and getattr(added, name) > getattr(instead_of or _NOTHING, name):
                return field, (
                    f"a tenant's rules may have {most:,} {what} in all, and would have {total:,} with this "
                    "one: shorten it, or delete rules that are not needed"
                )
        return None


_NOTHING: Final = Weight()
_BOUNDS: Final = {
    "words": ("trigger.words", 10_000, "words"),
    "word_bytes": ("trigger.words", 262_144, "bytes of words"),
    "pattern_size": (
        "trigger.pattern",
        10_000,
        "instructions of regular expressions (a letter is one, `.` and \\pL are many, {m,n} repeats)",
    ),
    "body_bytes": ("response", 4_194_304, "bytes of JSON"),
}


def weigh(rule: RuleFields) -> Weight:
    """What a rule weighs, whether it is active or not."""
    trigger = rule.trigger
    body = len(
        rule.model_dump_json(exclude_none=True, include=set(RuleFields.model_fields)).encode()
    )
    if isinstance(trigger, KeywordTrigger):
        folded = [fold(word, accents=trigger.exact_accents) for word in trigger.words]
        return Weight(len(folded), sum(len(word.encode()) for word in folded), 0, body)
    if isinstance(trigger, ReplyTrigger):
        return Weight(len(trigger.ids), sum(len(i.encode()) for i in trigger.ids), 0, body)
    if isinstance(trigger, PatternTrigger):
        expression = pattern_expression(trigger.pattern, accents=trigger.exact_accents)
        size: int = re2.compile(expression, options=pattern_options()).programsize
        return Weight(pattern_size=size, body_bytes=body)
    return Weight(body_bytes=body)


def left_out(rules: Iterable[Rule]) -> dict[str, str]:
    """Active rules that are beyond the bounds, each with the reason: they match nothing.

    Rules are counted in the order in which they come. What is saved keeps to the bounds; there are such
    rules only where they were made before there were any.
    """
    total, beyond = Weight(), dict[str, str]()
    for rule in rules:
        if not rule.active:
            continue
        weight = weigh(rule)
        problem = total.excess(weight)
        if problem is None:
            total += weight
        else:
            beyond[rule.id] = f"it does not answer: {problem[1]}"
    return beyond
