"""Which header values can be sent exactly as saved."""

import re
from collections.abc import Mapping
from typing import Final

HEADER_VALUE: Final = r"([\x21-\x7E]([\x20-\x7E]*[\x21-\x7E])?)?"
"""Printable ASCII, no space at either end.

RFC 9110, 5.5: surrounding whitespace is not part of a value, and non-ASCII characters have no agreed
meaning. The HTTP client refuses both, with an error that quotes the value.
"""
_HEADER_VALUE: Final = re.compile(HEADER_VALUE)


def value_problem(value: str) -> str | None:
    """Why a value cannot be sent, without the value; ``None`` if it can."""
    if _HEADER_VALUE.fullmatch(value):
        return None
    if value != value.strip():
        return "begins or ends with a blank or a line break, which a header cannot carry: remove it"
    return "must be printable ASCII on one line: a header cannot carry other characters"


def unsendable(headers: Mapping[str, str]) -> str | None:
    """Which header cannot be sent and why, without its value; ``None`` if all can."""
    for name, value in headers.items():
        if (problem := value_problem(value)) is not None:
            return f"header {name} {problem}"
    return None
