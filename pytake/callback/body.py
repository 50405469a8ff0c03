"""Parsing the body of Meta's callback into values that every database can store.

JSON can hold more than databases can: null characters and lone surrogates (PostgreSQL refuses both),
unbounded numbers, any depth. Python's parser also accepts NaN and Infinity, which are not JSON. Any one of
these would fail the whole batch, and Meta would send it again for days.
"""

import json
import math
from typing import Any, Final

MAX_DEPTH: Final = 64
"""Most nested lists and objects. Meta's deepest documented update has about a dozen."""
_DIGITS: Final = 18
"""Most digits of an integer kept as such: it fits 64 bits. Meta's longest ids have 17."""
_KEPT_DIGITS: Final = 64


class UnreadableError(ValueError):
    """The body is not JSON, or is nested too deeply."""


def read_body(body: bytes) -> Any:
    """Parse and clean the body, so that everything in it can be stored and serialised as JSON again.

    Null characters and lone surrogates become U+FFFD, NaN and infinite numbers ``None``; an integer
    beyond 64 bits becomes a string of its digits.

    Raises:
        UnreadableError: it is not JSON, or nested deeper than :data:`MAX_DEPTH`.
    """
    try:
        value = _DECODER.decode(body.decode(json.detect_encoding(body), "surrogatepass"))
    except RecursionError:
        raise _too_deep() from None
    except ValueError:
        raise UnreadableError("the body is not valid JSON") from None
    _check_depth(value)
    # Strings in ASCII without \u escapes need no cleaning.
    return value if body.isascii() and b"\\u" not in body else _clean(value)


def _too_deep() -> UnreadableError:
    return UnreadableError(f"the body is nested deeper than {MAX_DEPTH} levels")


def _integer(digits: str) -> int | str:
    return int(digits) if len(digits) <= _DIGITS else digits[:_KEPT_DIGITS]


def _number(text: str) -> float | None:
    value = float(text)
    return value if math.isfinite(value) else None


_DECODER: Final = json.JSONDecoder(
    parse_int=_integer, parse_float=_number, parse_constant=lambda _: None
)


def _check_depth(value: Any) -> None:
    """Check level by level: a batch of a thousand statuses has thousands of values, but six levels."""
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(MAX_DEPTH):
        if not level:
            return
        level = [
            item
            for parent in level
            for item in (parent.values() if type(parent) is dict else parent)
            if isinstance(item, (dict, list))
        ]
    if level:
        raise _too_deep()


def _clean(value: Any) -> Any:
    """Clean a value in place where possible; returns the same object if nothing changed."""
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, dict):
        for key, item in value.items():
            cleaned = _clean(item)
            if cleaned is not item:
                value[key] = cleaned
        if not all(key.isascii() and "\0" not in key for key in value):
            return {_text(key): item for key, item in value.items()}
    elif isinstance(value, list):
        for index, item in enumerate(value):
            cleaned = _clean(item)
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
