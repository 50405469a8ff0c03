"""The body of Meta's callback as values that every store takes.

JSON says more than databases hold: null characters and halves of surrogate pairs (PostgreSQL refuses
both), numbers without bounds, any depth. Python's reader also takes NaN and Infinity, which JSON does
not have. One of these anywhere would fail the whole batch, and Meta would send it again for days.
"""

import json
import math
from typing import Any, Final

MAX_DEPTH: Final = 64
"""Lists and objects within one another. Meta's deepest documented update has about a dozen."""
_DIGITS: Final = 18
"""Digits of an integer that is kept as one: 64 bits hold it. Meta's longest ids have 17."""
_KEPT_DIGITS: Final = 64


class UnreadableError(ValueError):
    """The body is not JSON, or is nested too deeply."""


def read(body: bytes) -> Any:
    """The body, cleaned once: everything in it can be stored and written as JSON again.

    Null characters and halves of surrogate pairs become U+FFFD, NaN and infinite numbers ``None``;
    an integer beyond 64 bits becomes a text of its digits.

    Raises:
        UnreadableError: it is not JSON, or nested deeper than :data:`MAX_DEPTH`.
    """
    try:
        value = json.loads(
            body, parse_int=_integer, parse_float=_number, parse_constant=lambda _: None
        )
    except RecursionError:
        raise UnreadableError(_TOO_DEEP) from None
    except ValueError:
        raise UnreadableError("the body is not valid JSON") from None
    return _clean(value, MAX_DEPTH)


_TOO_DEEP: Final = f"the body is nested deeper than {MAX_DEPTH} levels"


def _integer(digits: str) -> int | str:
    return int(digits) if len(digits) <= _DIGITS else digits[:_KEPT_DIGITS]


def _number(text: str) -> float | None:
    value = float(text)
    return value if math.isfinite(value) else None


def _clean(value: Any, depth: int) -> Any:
    """The value itself where nothing is wrong with it, which is nearly always."""
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, dict):
        if depth == 0:
            raise UnreadableError(_TOO_DEEP)
        for key, item in value.items():
            if not isinstance(item, str) or not item.isascii() or "\0" in item:
                cleaned = _clean(item, depth - 1)
                if cleaned is not item:
                    value[key] = cleaned
        if not all(key.isascii() and "\0" not in key for key in value):
            return {_text(key): item for key, item in value.items()}
    elif isinstance(value, list):
        if depth == 0:
            raise UnreadableError(_TOO_DEEP)
        for index, item in enumerate(value):
            cleaned = _clean(item, depth - 1)
            if cleaned is not item:
                value[index] = cleaned
    return value


def _text(text: str) -> str:
    if "\0" not in text:
        if text.isascii():
            return text
        try:
            text.encode()
        except UnicodeEncodeError:
            pass
        else:
            return text
    return (
        text.replace("\0", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    )
