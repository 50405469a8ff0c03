"""The parser of Meta's callback: no input makes it fail."""

import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytake.callback.body import UnreadableError, read_body
from pytake.callback.parse import Callback, parse, signature_matches
from pytake.callback.parts import envelope, split
from pytake.contacts.identities import is_phone_number_id
from pytake.database.types import iso

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "entry",
                    "changes",
                    "field",
                    "value",
                    "metadata",
                    "phone_number_id",
                    "statuses",
                    "messages",
                    "id",
                    "status",
                    "timestamp",
                    "from",
                    "type",
                    "errors",
                    "pricing",
                    "contacts",
                    "profile",
                    "name",
                    "wa_id",
                    "code",
                ]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=30,
)


@given(values)
def test_any_json_can_be_parsed(body: object) -> None:
    parse(body, NOW)


@given(st.lists(values, max_size=5), st.lists(values, max_size=5))
def test_no_part_of_a_batch_is_dropped(statuses: list[object], messages: list[object]) -> None:
    value = {"metadata": {"phone_number_id": "1"}, "statuses": statuses, "messages": messages}
    callback = parse({"entry": [{"changes": [{"field": "messages", "value": value}]}]}, NOW)
    count = len(callback.statuses) + len(callback.messages) + len(callback.others)
    assert count >= max(len(statuses) + len(messages), 1)


@given(st.binary(max_size=50), st.text(max_size=80))
def test_only_the_right_signature_matches(body: bytes, header: str) -> None:
    right = f"sha256={hmac.new(b'k', body, hashlib.sha256).hexdigest()}"
    assert signature_matches("k", body, right)
    assert not signature_matches("k", body, header) or header == right
    assert not signature_matches("k", body, right[7:])


def test_a_good_message_among_broken_ones_is_read() -> None:
    good = {
        "from": "556194013828",
        "id": "w",
        "timestamp": "1760000000",
        "type": "text",
        "text": {"body": "oi"},
    }
    callback = _parse(messages=[None, good, {"id": 3}])
    assert [message.contact_key for message in callback.inbound] == ["5561994013828"]
    assert len(callback.others) == 2


def _parse(number: Any = "1", **value: Any) -> Callback:
    value["metadata"] = {"phone_number_id": number}
    body = {"entry": [{"id": "1", "changes": [{"field": "messages", "value": value}]}]}
    return parse(read_body(json.dumps(body).encode()), NOW)


def _said(**changes: Any) -> dict[str, Any]:
    return {"from": "5511", "id": "w", "timestamp": "1760000000", "type": "text", **changes}


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        (rb'"\ud800"', "\ufffd"),
        (rb'"a\ude00\u0000b"', "a\ufffd\ufffdb"),
        (b'"\xed\xa0\x80"', "\ufffd"),
        (rb'"\ud83d\ude00"', "\U0001f600"),
        (rb'{"\ud800": {"\u0000": 1}}', {"\ufffd": {"\ufffd": 1}}),
        (b"[NaN, Infinity, -Infinity, 1e999, 1.5]", [None, None, None, None, 1.5]),
        (b"[1" + b"0" * 5000 + b", 12345678901234567]", ["1" + "0" * 63, 12345678901234567]),
    ],
)
def test_values_no_database_can_store_are_replaced(raw: bytes, clean: object) -> None:
    assert read_body(raw) == clean


@given(st.binary(max_size=60) | values.map(lambda value: json.dumps(value).encode()))
def test_a_cleaned_body_can_be_serialised(raw: bytes) -> None:
    try:
        value = read_body(raw)
    except UnreadableError:
        return
    text = json.dumps(value, allow_nan=False, ensure_ascii=False)
    assert "\0" not in text.encode().decode()


@pytest.mark.parametrize("depth", [65, 900, 1_000_000])
@pytest.mark.parametrize(("opened", "closed"), [("[", "]"), ('{"a":', "}")])
def test_a_deep_body_is_refused(depth: int, opened: str, closed: str) -> None:
    body = opened * depth + ("1" if "{" in opened else "") + closed * depth
    with pytest.raises(UnreadableError, match="64 levels"):
        read_body(body.encode())


@pytest.mark.parametrize(
    ("seconds", "at"),
    [
        ("-62135596800", datetime(2009, 1, 1, tzinfo=UTC)),  # the first second of the year 1
        ("0", datetime(2009, 1, 1, tzinfo=UTC)),
        ("1760000000", datetime.fromtimestamp(1_760_000_000, UTC)),
        ("253402300799", NOW),
    ],
)
def test_a_messages_time_is_within_bounds(seconds: str, at: datetime) -> None:
    (message,) = _parse(messages=[_said(timestamp=seconds)]).inbound
    assert message.at == at


@pytest.mark.parametrize("seconds", ["-62135596800", "0", "253402300799", "1796000000"])
def test_a_status_with_an_impossible_time_is_dated_now(seconds: str) -> None:
    item = {"id": "w", "status": "read", "timestamp": seconds}
    (receipt,) = _parse(statuses=[item]).receipts
    assert receipt.at == NOW


@given(st.datetimes(), st.datetimes())
def test_times_compare_as_their_texts(one: datetime, other: datetime) -> None:
    one, other = one.replace(tzinfo=UTC), other.replace(tzinfo=UTC)
    assert (iso(one) < iso(other)) == (one < other)
    assert datetime.fromisoformat(iso(one)) == one


@pytest.mark.parametrize(
    ("item", "field"),
    [
        ({"status": "deleted"}, "message_status"),
        ({"status": "warning"}, "message_status"),
        ({"status": "captured"}, "payment_status"),
        ({"status": "pending", "type": "payment"}, "payment_status"),
        ({"status": "failed", "type": "payment"}, "payment_status"),
    ],
)
def test_statuses_not_about_delivery_are_neither_problems_nor_failures(
    item: dict[str, Any], field: str
) -> None:
    callback = _parse(statuses=[{"id": "w", "timestamp": "1760000000", **item}])
    assert callback.statuses == []
    assert [(other.field, other.problem) for other in callback.others] == [(field, None)]


@pytest.mark.parametrize(
    "number", [None, 42, "", "\u0664\u0662", "4 2", "42\n", "-42", "4" * 33, "x"]
)
def test_a_phone_number_id_consists_of_digits(number: Any) -> None:
    callback = _parse(number, messages=[_said()])
    assert callback.messages == []
    assert "digits" in (callback.others[0].problem or "")
    assert not (isinstance(number, str) and is_phone_number_id(number))


def test_a_group_is_marked() -> None:
    callback = _parse(messages=[_said(), _said(group_id="g1")])
    assert [message.group_id for message in callback.inbound] == [None, "g1"]


@given(values, values)
def test_the_envelope_of_a_part_parses_as_the_same_part(status: object, other: object) -> None:
    good = {"id": "w", "status": "read", "timestamp": "1760000000"}
    value = {
        "metadata": {"phone_number_id": "1"},
        "contacts": [{"wa_id": "5511", "profile": {"name": "Ana"}}],
        "statuses": [good, {**good, "status": "captured"}, status],
        "messages": [_said(), _said(group_id="g")],
    }
    changes = [{"field": "messages", "value": value}, {"field": "x", "value": {"other": other}}]
    parts = split(parse({"entry": [{"id": "7", "time": 1_760_000_000, "changes": changes}]}, NOW))
    assert len(parts) >= 6
    for part in parts:
        assert [part] == split(parse(envelope(part), NOW))


def test_the_time_of_an_entry_is_read_in_seconds_and_milliseconds() -> None:
    entries = [
        {"id": 7, "time": time, "changes": [{"field": "x", "value": {}}]}
        for time in (1_760_000_000, "1760000000123", None, "soon", 10**30)
    ]
    times = [other.origin.sent_at for other in parse({"entry": entries}, NOW).others]
    second = datetime.fromtimestamp(1_760_000_000, UTC)
    assert times == [second, second + timedelta(milliseconds=123), None, None, None]
