"""Many rules against one text in one pass.

All keywords and regular expressions of a tenant become one automaton (``re2.Set``): it runs once
over the folded text, in time linear in its length, however many rules there are. Rules that ask
for exact accents have an automaton of their own over the accented text.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import re2

from pytake.domain.autoresponder.rules import Rule, walk
from pytake.domain.autoresponder.said import Said
from pytake.domain.autoresponder.text import fold, is_word_character
from pytake.domain.autoresponder.triggers import (
    KeywordTrigger,
    MediaTrigger,
    PatternTrigger,
    ReplyTrigger,
    pattern_options,
)

_SET_MEMORY: Final = 256 << 20
"""A bound for the automaton, not what it takes: 1,000 rules need a few MB."""
_NOT_A_WORD: Final = r"[^\pL\pN_]"

_KEYWORD_RANK: Final = {"Exact": 9, "StartsWith": 6, "EndsWith": 6, "WholeWord": 5, "Contains": 3}
_REPLY_RANK: Final = 10
_PATTERN_RANK: Final = 4
_MEDIA_RANK: Final = 2

Specificity = tuple[int, int]
"""A rank of the kind of match, and the length of the word that matched."""


class Automaton:
    """Texts to look for, all in one pass."""

    def __init__(self, expressions: list[str]) -> None:
        self._expressions = expressions
        self._set: Any = None
        options = pattern_options()
        options.max_mem = _SET_MEMORY
        combined = re2.Set.SearchSet(options)
        try:
            # The empty expression matches everything: if it is not found, the pass itself failed.
            for expression in ("", *expressions):
                combined.Add(expression)
            combined.Compile()
        except re2.error:
            return
        if combined.Match("") is not None and 0 in combined.Match(""):
            self._set = combined

    def search(self, text: str) -> list[int]:
        """Indexes of the expressions that are found in the text."""
        if not self._expressions:
            return []
        found = self._set.Match(text) if self._set is not None else []
        if 0 in found:
            return [index - 1 for index in found if index > 0]
        options = pattern_options()
        return [
            index
            for index, expression in enumerate(self._expressions)
            if re2.search(expression, text, options=options)
        ]


@dataclass(slots=True)
class _Side:
    """The expressions over one form of the text, and the rules they belong to."""

    accents: bool
    expressions: list[str] = field(default_factory=list)
    owners: list[tuple[str, Specificity]] = field(default_factory=list)
    automaton: Automaton = field(init=False)

    def add(self, expression: str, rule_id: str, specificity: Specificity) -> None:
        self.expressions.append(expression)
        self.owners.append((rule_id, specificity))

    def search(self, text: str) -> Iterable[tuple[str, Specificity]]:
        if not self.expressions:
            return []
        folded = fold(text, accents=self.accents)
        return [self.owners[index] for index in self.automaton.search(folded)]


class RuleBook:
    """A tenant's rules, compiled; immutable."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.rules: dict[str, Rule] = {rule.id: rule for rule in rules}
        self.situational: dict[str, None] = {}
        """Active rules whose trigger does not look at the message."""
        self._plain, self._accented = _Side(accents=False), _Side(accents=True)
        self._replies: dict[str, list[str]] = defaultdict(list)
        self._media: dict[str, list[str]] = defaultdict(list)
        self._options: dict[str, list[tuple[str, tuple[str, ...]]]] = defaultdict(list)
        for rule in self.rules.values():
            if rule.active:
                self._index(rule)
        for side in (self._plain, self._accented):
            side.automaton = Automaton(side.expressions)

    def _index(self, rule: Rule) -> None:
        trigger = rule.trigger
        if isinstance(trigger, KeywordTrigger):
            side = self._accented if trigger.exact_accents else self._plain
            for word in trigger.words:
                folded = fold(word, accents=side.accents)
                specificity = (_KEYWORD_RANK[trigger.match_type], len(folded))
                side.add(keyword_expression(folded, trigger.match_type), rule.id, specificity)
        elif isinstance(trigger, PatternTrigger):
            side = self._accented if trigger.exact_accents else self._plain
            expression = pattern_expression(trigger.pattern, accents=side.accents)
            side.add(expression, rule.id, (_PATTERN_RANK, len(trigger.pattern)))
        elif isinstance(trigger, ReplyTrigger):
            for reply_id in trigger.ids:
                self._replies[reply_id].append(rule.id)
        elif isinstance(trigger, MediaTrigger):
            for kind in trigger.media_types:
                self._media[kind].append(rule.id)
        else:
            self.situational[rule.id] = None
        for path, option in walk(rule.response):
            if option.response is not None:
                self._options[option.id].append((rule.id, path))

    def match(self, said: Said) -> dict[str, Specificity]:
        """The rules whose trigger the message itself matches, each with how specifically."""
        found: dict[str, Specificity] = {}
        if said.text:
            for side in (self._plain, self._accented):
                for rule_id, specificity in side.search(said.text):
                    found[rule_id] = max(found.get(rule_id, specificity), specificity)
        for rule_id in self._replies.get(said.reply_id or "", []):
            kind = self.rules[rule_id].trigger.type
            if said.reply_kind is None or kind == "Reply" or kind == _TRIGGER_OF[said.reply_kind]:
                found[rule_id] = (_REPLY_RANK, 0)
        if said.reply_id in self.rules and self.rules[said.reply_id].active:
            found[said.reply_id] = (_REPLY_RANK, 0)
        for rule_id in self._media.get(said.media or "", []):
            found[rule_id] = max(found.get(rule_id, (0, 0)), (_MEDIA_RANK, 0))
        return found

    def options(self, reply_id: str) -> list[tuple[Rule, tuple[str, ...]]]:
        """Options of active rules that a reply id names and that lead somewhere."""
        return [(self.rules[rule_id], path) for rule_id, path in self._options.get(reply_id, [])]


_TRIGGER_OF: Final = {"button": "Button", "list": "ListReply"}


def keyword_expression(folded: str, match_type: str) -> str:
    """The expression that finds a folded word in a folded text."""
    literal: str = re2.escape(folded)
    if match_type == "Exact":
        return f"^{literal}$"
    if match_type == "StartsWith":
        return f"^{literal}"
    if match_type == "EndsWith":
        return f"{literal}$"
    if match_type == "WholeWord":
        # RE2's \b knows ASCII only. An emoji is a word of its own: it needs no boundary.
        before = f"(?:^|{_NOT_A_WORD})" if is_word_character(folded[0]) else ""
        after = f"(?:$|{_NOT_A_WORD})" if is_word_character(folded[-1]) else ""
        return f"{before}{literal}{after}"
    return literal


def pattern_expression(pattern: str, *, accents: bool) -> str:
    """A tenant's regular expression, for the folded text.

    Without ``accents`` those of the pattern go too, where it then still is an expression.
    """
    candidates = [pattern]
    if not accents:
        # Only what is not ASCII changes: operators and escapes of the expression stay.
        candidates.insert(0, "".join(c if c.isascii() else fold(c) or c for c in pattern))
    for candidate in candidates:
        expression = f"(?i:{candidate})"
        try:
            re2.compile(expression, options=pattern_options())
        except re2.error:
            continue
        return expression
    return r"[^\x{0}-\x{10FFFF}]"
