"""What is looked for, as regular expressions over folded text."""

import re
from typing import Final

import re2

from pytake.conversations.rules.text import fold
from pytake.conversations.rules.triggers import pattern_options

BOUNDARY: Final = "\u00ad"
"""Where a word begins or ends in a marked text: a soft hyphen, which folding leaves in no text."""
_BOUNDARIES: Final = re.compile(r"\b")


def marked(folded: str) -> str:
    """A folded text with a mark at both ends of each word.

    A whole word then is a plain text to look for. RE2's own boundary knows ASCII only, and a class of all
    letters takes 1,300 instructions at each end of each word.
    """
    return BOUNDARY.join(_BOUNDARIES.split(folded))


def keyword_expression(folded: str, match_type: str) -> str:
    """The expression that finds a folded word in a folded text; in a marked one for ``WholeWord``."""
    if match_type == "WholeWord":
        # An emoji is a word of its own: it needs no boundary.
        word: str = re2.escape(marked(folded))
        return word
    literal: str = re2.escape(folded)
    if match_type == "Exact":
        return f"^{literal}$"
    if match_type == "StartsWith":
        return f"^{literal}"
    if match_type == "EndsWith":
        return f"{literal}$"
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
