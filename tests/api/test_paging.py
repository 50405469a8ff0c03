"""Cursors: any that the API did not issue is refused."""

import base64
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api import paging as cursors
from pytake.problems import InvalidRequestError

KEY = b"k" * 32
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
_times = st.datetimes(timezones=st.timezones()).map(datetime.isoformat) | st.text()
_positions = st.fixed_dictionaries(
    {},
    optional={
        "before": st.tuples(_times, st.text()) | _json,
        "live": st.text() | _json,
        "mac": st.text() | _json,
    },
)


@given(_positions.map(json.dumps) | st.text())
def test_a_forged_cursor_is_refused_or_names_a_row(text: str) -> None:
    cursor = base64.urlsafe_b64encode(text.encode(errors="surrogatepass")).decode()
    try:
        position = cursors.decode(cursor)
        if "live" in position:
            with pytest.raises(InvalidRequestError):
                cursors.token_of(KEY, position)
        at, row_id = cursors.row_of(position.get("before"))
    except InvalidRequestError:
        pass
    else:
        assert at.tzinfo is UTC
        assert row_id.isascii()


@given(st.integers(0, 7_000_000_000), st.binary())
def test_issued_cursors_round_trip(seconds: int, token: bytes) -> None:
    at = datetime.fromtimestamp(seconds, UTC)
    assert cursors.decode_cursor(cursors.encode_cursor(at, "msg_1")) == (at, "msg_1")
    assert cursors.token_of(KEY, cursors.decode(cursors.live(KEY, token))) == token
    with pytest.raises(InvalidRequestError):
        cursors.token_of(b"x" * 32, cursors.decode(cursors.live(KEY, token)))
