"""Cursors of lists: opaque to callers; any that this API did not issue is refused."""

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime
from typing import Any, Final, NoReturn

from pytake.problems import InvalidRequestError

_MAX_LENGTH: Final = 4096
_YEARS: Final = range(1970, 2200)
_PURPOSE: Final = b"cursor\0"
"""Domain separation: the same key hashes contacts elsewhere."""

Position = dict[str, Any]
"""``before``: a row's (time, id); or ``live``: Temporal's page token, with its ``mac``."""


def encode_cursor(at: datetime, row_id: str) -> str:
    """The cursor after a row of a list ordered by time."""
    return encode({"before": [at.isoformat(), row_id]})


def decode_cursor(cursor: str) -> tuple[datetime, str]:
    """The (time, id) of the row before a cursor.

    Raises:
        InvalidRequestError: it is none of ours.
    """
    return row_of(decode(cursor).get("before"))


def row_of(before: Any) -> tuple[datetime, str]:
    """The (time, id) in a position's ``before``."""
    if not isinstance(before, list) or len(before) != 2:
        _refuse()
    text, row_id = before
    if not isinstance(text, str) or not isinstance(row_id, str) or not row_id.isascii():
        _refuse()
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        _refuse()
    if at.tzinfo is None or at.year not in _YEARS or "\0" in row_id:
        _refuse()
    return at.astimezone(UTC), row_id


def live(key: bytes, token: bytes) -> str:
    """The cursor after a page of Temporal's visibility. It is signed, because Temporal takes seconds to
    refuse a token that it did not issue.
    """
    return encode({"live": base64.b64encode(token).decode(), "mac": _mac(key, token)})


def token_of(key: bytes, position: Position) -> bytes:
    """The page token in a ``live`` position.

    Raises:
        InvalidRequestError: it is none of ours.
    """
    try:
        token = base64.b64decode(str(position["live"]), validate=True)
    except ValueError:
        _refuse()
    if not hmac.compare_digest(
        _mac(key, token).encode(), str(position.get("mac")).encode(errors="replace")
    ):
        _refuse()
    return token


def encode(position: Position) -> str:
    """A position as a cursor."""
    return base64.urlsafe_b64encode(json.dumps(position).encode()).decode()


def decode(cursor: str) -> Position:
    """The position of a cursor.

    Raises:
        InvalidRequestError: it is none of ours.
    """
    if len(cursor) > _MAX_LENGTH:
        _refuse()
    try:
        position = json.loads(base64.urlsafe_b64decode(cursor.encode()))
    except (ValueError, RecursionError):
        _refuse()
    if not isinstance(position, dict):
        _refuse()
    return position


def _mac(key: bytes, token: bytes) -> str:
    return hmac.new(key, _PURPOSE + token, hashlib.sha256).hexdigest()


def _refuse() -> NoReturn:
    raise InvalidRequestError.of("cursor", "is not one that this API gave out") from None
