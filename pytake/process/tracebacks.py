"""Tracebacks for logs: where an error happened, without the data that was being processed."""

import sys
import traceback
from types import TracebackType
from typing import Any, Final

from sqlalchemy.exc import DBAPIError
from temporalio.exceptions import TemporalError

from pytake.settings import ConfigurationError

_MAX_CHARACTERS: Final = 20_000
"""Characters of one trace at most; the end, where the error was raised, is kept."""
_MAX_ERRORS: Final = 8
"""Errors shown of a chain or a group at most."""
_LEFT_OUT: Final = "(its text is left out: it may quote what was sent)"
_QUOTES_NOTHING: Final = (
    ArithmeticError,
    AttributeError,
    ConfigurationError,
    ImportError,
    MemoryError,
    NameError,
    OSError,
    RuntimeError,
    TemporalError,
    TypeError,
)
"""Errors whose text is about code, files, connections and settings. All others' texts are left out:
a ``ValueError`` or ``KeyError`` quotes the value, pydantic the body, the database the row, and an
HTTP client the header that it refused."""


def render_traceback(error: BaseException) -> str:
    """The traceback of an error and its causes: frames and source lines, no local variables, and error
    texts only if they cannot quote a message or a secret.
    """
    text = "\n".join(_parts(error, set()))
    return text if len(text) <= _MAX_CHARACTERS else f"...{text[-_MAX_CHARACTERS:]}"


def error_of(exc_info: Any) -> BaseException | None:
    """The error that a logging call's ``exc_info`` refers to: an error, a triple, or ``True``."""
    if isinstance(exc_info, BaseException):
        return exc_info
    if isinstance(exc_info, tuple):
        found = exc_info[1]
        return found if isinstance(found, BaseException) else None
    return sys.exc_info()[1] if exc_info else None


def _parts(error: BaseException, seen: set[int]) -> list[str]:
    if id(error) in seen or len(seen) >= _MAX_ERRORS:
        return ["..."]
    seen.add(id(error))
    parts: list[str] = []
    if error.__cause__ is not None:
        parts += [*_parts(error.__cause__, seen), "which was the direct cause of:"]
    elif error.__context__ is not None and not error.__suppress_context__:
        parts += [*_parts(error.__context__, seen), "while that was being handled:"]
    parts.append(_frames(error.__traceback__) + _line(error))
    if isinstance(error, BaseExceptionGroup):
        for item in error.exceptions:
            parts += ["which contains:", *_parts(item, seen)]
    return parts


def _frames(trace: TracebackType | None) -> str:
    if trace is None:
        return ""
    return "Traceback (most recent call last):\n" + "".join(traceback.format_tb(trace))


def _line(error: BaseException) -> str:
    kind = type(error)
    name = (
        kind.__qualname__
        if kind.__module__ == "builtins"
        else f"{kind.__module__}.{kind.__qualname__}"
    )
    if isinstance(error, DBAPIError):
        cause = error.orig
        state = getattr(cause, "sqlstate", None) or getattr(cause, "sqlite_errorname", None) or ""
        return f"{name}: {type(cause).__qualname__} {state}".rstrip()
    if isinstance(error, _QUOTES_NOTHING):
        return f"{name}: {str(error)[:1000]}"
    return f"{name}: {_LEFT_OUT}" if error.args else name
