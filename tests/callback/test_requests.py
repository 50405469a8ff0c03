"""Which requests are acknowledged: verification, signature, size and contents."""

import json
import time

import pytest

from pytake.messages import store as messages
from tests.callback.posting import PATH, envelope, post, said, sign, status, statuses, text
from tests.stack import Stack


async def test_verification_echoes_the_challenge(stack: Stack) -> None:
    params = {
        "hub.mode": "subscribe",
        "hub.verify_token": "verify-me",
        "hub.challenge": "1158201444",
    }
    response = await stack.api.get(PATH, params=params)
    assert (response.status_code, response.text) == (200, "1158201444")
    for wrong in ({"hub.verify_token": "x"}, {"hub.mode": "unsubscribe"}):
        assert (await stack.api.get(PATH, params={**params, **wrong})).status_code == 403
    assert (await stack.api.get(PATH)).status_code == 403


async def test_only_a_valid_signature_over_the_raw_bytes_is_accepted(stack: Stack) -> None:
    raw = b'{"entry": [], "note": "\\u00e7"}'
    assert (await stack.api.post(PATH, content=raw, headers=sign(raw))).status_code == 200
    wrong = [
        {},
        sign(raw, "other"),
        sign(raw + b" "),
        {"X-Hub-Signature-256": sign(raw)["X-Hub-Signature-256"].removeprefix("sha256=")},
        {"X-Hub-Signature-256": "sha256="},
        {"X-Hub-Signature-256": "ü".encode()},
    ]
    for headers in wrong:
        response = await stack.api.post(PATH, content=raw, headers=headers)  # type: ignore[arg-type]
        assert response.status_code == 403, headers
        assert response.headers["content-type"] == "application/problem+json"


async def test_a_body_of_3_mb_is_accepted_and_a_larger_one_is_not(stack: Stack) -> None:
    frame = json.dumps(envelope({"pad": ""}, field="other"))
    fits = frame.replace('"pad": ""', f'"pad": "{"x" * (3 * 1024 * 1024 - len(frame))}"').encode()
    assert len(fits) == 3 * 1024 * 1024
    assert (await stack.api.post(PATH, content=fits, headers=sign(fits))).status_code == 200
    large = fits + b" "
    assert (await stack.api.post(PATH, content=large, headers=sign(large))).status_code == 413


async def test_values_no_database_can_store_do_not_affect_the_rest_of_the_batch(
    stack: Stack,
) -> None:
    number, message_id = await stack.register(), f"msg_{time.time_ns()}"
    raw = json.dumps(
        envelope(
            said(number, text("5561994013828", text={"body": "\ud800 \0"}, n=float("nan"))),
            statuses(
                status(
                    "wamid.nan", "sent", biz_opaque_callback_data=message_id, conversation="\ude00"
                ),
                number=number,
            ),
            {"note": "\ud800", "\udc00\0": [float("inf"), 10**4000]},
        )
    ).encode()
    response = await stack.api.post(PATH, content=raw, headers=sign(raw))
    assert (response.status_code, response.json()["messages"]) == (200, 1)
    row = await stack.database.read(messages.get, message_id)
    assert row is not None
    assert row.status == "sent"
    deep = b'{"entry":' + b"[" * 5000 + b"]" * 5000 + b"}"
    assert (await stack.api.post(PATH, content=deep, headers=sign(deep))).status_code == 400


async def test_a_request_that_cannot_be_stored_gets_500_so_that_meta_retries(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sqlalchemy.exc import OperationalError

    def gone(*_args: object) -> None:
        raise OperationalError("INSERT", {}, Exception("disk full"))

    monkeypatch.setattr("pytake.messages.receipts.apply", gone)
    response = await post(stack, envelope(statuses(status("wamid.x", "sent"))))
    assert response.status_code == 500
    assert "disk full" not in response.text
