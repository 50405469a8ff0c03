"""Many expressions against one text, in time linear in the text however many there are.

Expressions are put together in automata (``re2.Set``) of bounded size. What RE2 cannot put together within
its bound is put together in halves, and what it cannot even then is compiled by itself, once.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import re2

from pytake.conversations.rules.triggers import pattern_options

_TOGETHER: Final = 1_000
"""Expressions in one automaton. Its states list the expressions found so far: with 5,000 one-letter words in
one, a text of those letters took 1.7 s; so it takes 0.3 s."""
_BYTES_TOGETHER: Final = 40_000
_MEMORY: Final = 8 << 20
"""Bytes that one automaton may take, its states included, which come with the texts."""
_PATTERN_MEMORY: Final = 16 << 20
"""The same for regular expressions, of which there is one automaton."""


class Automaton:
    """Expressions to look for; ``words`` says that they are plain words."""

    def __init__(self, expressions: Sequence[str], *, words: bool = False) -> None:
        self._memory = _MEMORY if words else _PATTERN_MEMORY
        parts = _parts(expressions) if words else [(0, expressions)] if expressions else []
        self._sets = [piece for start, part in parts for piece in self._build(start, part)]
        self.size = len(self._sets)
        """How many automata it took."""

    def search(self, text: str) -> list[int]:
        """Indexes of the expressions that are found in the text."""
        return [index for piece in self._sets for index in piece.search(text)]

    def _build(self, start: int, expressions: Sequence[str]) -> Iterator["_Set | _Alone"]:
        compiled = _compile(expressions, self._memory)
        if compiled is not None:
            yield _Set(compiled, start, expressions)
        elif len(expressions) == 1:
            yield _Alone(start, expressions)
        else:
            half = len(expressions) // 2
            yield from self._build(start, expressions[:half])
            yield from self._build(start + half, expressions[half:])


class _Alone:
    """Expressions that are looked for one by one, each compiled once, when it is first needed."""

    def __init__(self, start: int, expressions: Sequence[str]) -> None:
        self._start, self._expressions = start, expressions
        self._compiled: list[Any] | None = None

    def search(self, text: str) -> list[int]:
        if self._compiled is None:
            options = pattern_options()
            self._compiled = [re2.compile(text, options=options) for text in self._expressions]
        found = enumerate(self._compiled, self._start)
        return [index for index, expression in found if expression.search(text)]


class _Set:
    """Expressions in one automaton."""

    def __init__(self, compiled: Any, start: int, expressions: Sequence[str]) -> None:
        self._set, self._start = compiled, start
        self._alone = _Alone(start, expressions)

    def search(self, text: str) -> list[int]:
        found = self._set.Match(text)
        if found and 0 in found:
            return [self._start + index - 1 for index in found if index > 0]
        return self._alone.search(text)


def _parts(expressions: Sequence[str]) -> Iterator[tuple[int, Sequence[str]]]:
    """Slices of bounded size, each with the index of its first."""
    start = size = 0
    for index, expression in enumerate(expressions):
        length = len(expression.encode())
        if index > start and (index - start >= _TOGETHER or size + length > _BYTES_TOGETHER):
            yield start, expressions[start:index]
            start, size = index, 0
        size += length
    if start < len(expressions):
        yield start, expressions[start:]


def _compile(expressions: Sequence[str], memory: int) -> Any:
    """The automaton of the expressions; ``None`` if it does not fit."""
    options = pattern_options()
    options.max_mem = memory
    combined = re2.Set.SearchSet(options)
    try:
        # The empty expression matches everything: if it is not found, the pass itself failed.
        for expression in ("", *expressions):
            combined.Add(expression)
        combined.Compile()
    except re2.error:
        return None
    return combined
