"""Many rules against one text.

The words and regular expressions of a tenant become a few automata, which run over the folded text in time
linear in its length, however many rules there are. Rules that ask for exact accents have automata of their
own over the accented text; whole words have theirs over the text with its words marked.
"""

import copy
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from pytake.conversations.rules.automaton import Automaton
from pytake.conversations.rules.budget import left_out
from pytake.conversations.rules.expressions import keyword_expression, marked, pattern_expression
from pytake.conversations.rules.rules import Rule, walk
from pytake.conversations.rules.said import Said
from pytake.conversations.rules.text import fold
from pytake.conversations.rules.triggers import (
    KeywordTrigger,
    MediaTrigger,
    PatternTrigger,
    ReplyTrigger,
)

_KEYWORD_RANK: Final = {"Exact": 9, "StartsWith": 6, "EndsWith": 6, "WholeWord": 5, "Contains": 3}
_REPLY_RANK: Final = 10
_PATTERN_RANK: Final = 4
_MEDIA_RANK: Final = 2

Specificity = tuple[int, int]
"""A rank of the kind of match, and the length of the word that matched."""


_RULE_BYTES: Final = 8_000
_AUTOMATON_BYTES: Final = 250_000
_CHARACTER_BYTES: Final = 100
"""What a rule, the automata and a character of an expression take in memory, measured roughly."""


_WHOLE: Final = ""
"""In place of a rule: a whole word may be there. Few texts have any, and only those are marked."""


class UnreadTextError(Exception):
    """A text was not read before it was asked for: read it, and decide again."""


@dataclass(slots=True)
class _Kind:
    """Expressions of one kind, and the rules they belong to."""

    words: bool
    expressions: list[str] = field(default_factory=list)
    owners: list[tuple[str, Specificity]] = field(default_factory=list)
    automaton: Automaton | None = None

    def add(self, expression: str, rule_id: str, specificity: Specificity) -> None:
        self.expressions.append(expression)
        self.owners.append((rule_id, specificity))

    def compile(self) -> None:
        self.automaton = Automaton(self.expressions, words=self.words)

    def search(self, text: str) -> Iterator[tuple[str, Specificity]]:
        if self.automaton is not None:
            yield from (self.owners[index] for index in self.automaton.search(text))


class _Side:
    """The expressions over one form of the text."""

    def __init__(self, *, accents: bool) -> None:
        self.accents = accents
        self.words, self.whole_words = _Kind(words=True), _Kind(words=True)
        self.patterns = _Kind(words=False)

    @property
    def kinds(self) -> tuple[_Kind, ...]:
        return self.words, self.whole_words, self.patterns

    def search(self, text: str) -> Iterator[tuple[str, Specificity]]:
        if not any(kind.expressions for kind in self.kinds):
            return
        folded = fold(text, accents=self.accents)
        whole = False
        for rule_id, specificity in self.words.search(folded):
            if rule_id == _WHOLE:
                whole = True
            else:
                yield rule_id, specificity
        yield from self.patterns.search(folded)
        if whole:
            yield from self.whole_words.search(marked(folded))


class RuleBook:
    """A tenant's rules; immutable. They are compiled when the first text is read."""

    def __init__(self, rules: Iterable[Rule], revision: int = 0) -> None:
        self.rules: dict[str, Rule] = {rule.id: rule for rule in rules}
        self.revision = revision
        """Of the tenant's rules, when these were read."""
        self.left_out = left_out(self.rules.values())
        """Active rules that are too much, each with the reason: their triggers find nothing."""
        self.situational: dict[str, None] = {}
        """Active rules whose trigger does not look at the message."""
        self._sides = _Side(accents=False), _Side(accents=True)
        self._replies: dict[str, list[str]] = defaultdict(list)
        self._media: dict[str, list[str]] = defaultdict(list)
        self._options: dict[str, list[tuple[str, tuple[str, ...]]]] = defaultdict(list)
        for rule in self.rules.values():
            if rule.active and rule.id not in self.left_out:
                self._index(rule)
        self._compiled = False
        self._compiling = threading.Lock()
        self._read: dict[str, Mapping[str, Specificity]] | None = None

        self.size = self._measure()
        """Bytes of memory that the book takes, roughly, once texts of all kinds were read."""

    def _measure(self) -> int:
        expressions = [
            text for side in self._sides for kind in side.kinds for text in kind.expressions
        ]
        texts = sum(len(text) for text in expressions)
        return _RULE_BYTES * len(self.rules) + _AUTOMATON_BYTES + _CHARACTER_BYTES * texts

    def _index(self, rule: Rule) -> None:
        trigger = rule.trigger
        if isinstance(trigger, KeywordTrigger):
            side = self._sides[trigger.exact_accents]
            whole = trigger.match_type == "WholeWord"
            kind = side.whole_words if whole else side.words
            for word in trigger.words:
                folded = fold(word, accents=side.accents)
                specificity = (_KEYWORD_RANK[trigger.match_type], len(folded))
                kind.add(keyword_expression(folded, trigger.match_type), rule.id, specificity)
                if whole:
                    side.words.add(keyword_expression(folded, "Contains"), _WHOLE, specificity)
        elif isinstance(trigger, PatternTrigger):
            side = self._sides[trigger.exact_accents]
            expression = pattern_expression(trigger.pattern, accents=side.accents)
            side.patterns.add(expression, rule.id, (_PATTERN_RANK, len(trigger.pattern)))
        elif isinstance(trigger, ReplyTrigger):
            for reply_id in trigger.ids:
                self._replies[reply_id].append(rule.id)
        elif isinstance(trigger, MediaTrigger):
            for kind_of_media in trigger.media_types:
                self._media[kind_of_media].append(rule.id)
        else:
            self.situational[rule.id] = None
        for path, option in walk(rule.response):
            if option.response is not None:
                self._options[option.id].append((rule.id, path))

    def having_read(self, texts: Iterable[str]) -> "RuleBook":
        """The same book, which knows what the texts match and reads no others.

        Reading takes time, and lets other threads run: it is done before a transaction, not in one.
        """
        read = copy.copy(self)
        read._read = {text: self._find(text) for text in {*texts, ""}}
        return read

    def _find(self, text: str) -> Mapping[str, Specificity]:
        found: dict[str, Specificity] = {}
        if not text:
            return found
        with self._compiling:
            if not self._compiled:
                for side in self._sides:
                    for kind in side.kinds:
                        kind.compile()
                self._compiled = True
        for side in self._sides:
            for rule_id, specificity in side.search(text):
                found[rule_id] = max(found.get(rule_id, specificity), specificity)
        return found

    def match(self, said: Said) -> dict[str, Specificity]:
        """The rules whose trigger the message itself matches, each with how specifically.

        Raises:
            UnreadTextError: the book has read other texts only.
        """
        if self._read is None:
            found = dict(self._find(said.text))
        elif said.text in self._read:
            found = dict(self._read[said.text])
        else:
            raise UnreadTextError
        for rule_id in self._replies.get(said.reply_id or "", []):
            kind = self.rules[rule_id].trigger.type
            if said.reply_kind is None or kind == "Reply" or kind == _TRIGGER_OF[said.reply_kind]:
                found[rule_id] = (_REPLY_RANK, 0)
        own = self.rules.get(said.reply_id or "")
        if own is not None and own.active and own.id not in self.left_out:
            found[own.id] = (_REPLY_RANK, 0)
        for rule_id in self._media.get(said.media or "", []):
            found[rule_id] = max(found.get(rule_id, (0, 0)), (_MEDIA_RANK, 0))
        return found

    def options(self, reply_id: str) -> list[tuple[Rule, tuple[str, ...]]]:
        """Options of active rules that a reply id names and that lead somewhere."""
        return [(self.rules[rule_id], path) for rule_id, path in self._options.get(reply_id, [])]


_TRIGGER_OF: Final = {"button": "Button", "list": "ListReply"}
