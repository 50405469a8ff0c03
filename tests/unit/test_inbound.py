"""The parser of Meta's callback: nothing it is given makes it fail."""

import json

from hypothesis import given
from hypothesis import strategies as st

from pytake.whatsapp.inbound import parse, signature_matches

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(
        ["entry", "changes", "field", "value", "metadata", "phone_number_id", "statuses", "messages", "id",
         "status", "timestamp", "from", "type", "errors", "pricing", "contacts", "profile", "name", "wa_id", "code"]), inner, max_size=6),
    max_leaves=30,
)  # fmt: skip


@given(values)
def test_any_json_is_read(body: object) -> None:
    parse(body)


@given(st.lists(values, max_size=5), st.lists(values, max_size=5))
def test_nothing_of_a_batch_is_dropped(statuses: list[object], messages: list[object]) -> None:
    value = {"metadata": {"phone_number_id": "1"}, "statuses": statuses, "messages": messages}
    callback = parse({"entry": [{"changes": [{"field": "messages", "value": value}]}]})
    count = len(callback.statuses) + len(callback.messages) + len(callback.others)
    assert count >= max(len(statuses) + len(messages), 1)


@given(st.binary(max_size=50), st.text(max_size=80))
def test_no_header_but_the_right_one_matches(body: bytes, header: str) -> None:
    import hashlib
    import hmac

    right = f"sha256={hmac.new(b'k', body, hashlib.sha256).hexdigest()}"
    assert signature_matches("k", body, right)
    assert not signature_matches("k", body, header) or header in (right, right[7:])


def test_a_good_message_among_broken_ones_is_read() -> None:
    good = {
        "from": "556194013828",
        "id": "w",
        "timestamp": "1760000000",
        "type": "text",
        "text": {"body": "oi"},
    }
    value = {"metadata": {"phone_number_id": "1"}, "messages": [None, good, {"id": 3}]}
    callback = parse(
        json.loads(json.dumps({"entry": [{"changes": [{"field": "messages", "value": value}]}]}))
    )
    assert [message.contact_key for message in callback.messages] == ["5561994013828"]
    assert len(callback.others) == 2
