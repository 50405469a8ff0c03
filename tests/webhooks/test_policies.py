"""Retries of deliveries, disabling of endpoints, signatures and subscriptions."""

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from pytake.webhooks.event_types import subscribes
from pytake.webhooks.policies import (
    EndpointRetryPolicy,
    attempts_made,
    give_up,
    parse_retry_after,
    succeeded,
)
from pytake.webhooks.signing import new_secret, signature_headers, signing_key

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


@given(st.integers(1, 60), st.floats(0, 0.999), st.floats(0, 10**7))
def test_jitter_and_retry_after_only_lengthen_a_wait(
    failed: int, chance: float, after: float
) -> None:
    plan = EndpointRetryPolicy(max_retries=9)
    shortest = plan.delay(failed, 0.0)
    assert shortest <= plan.delay(failed, chance) <= shortest * 1.2
    assert plan.delay(failed, chance, after) >= max(shortest, min(after, 24 * 3600))
    assert plan.delay(failed, chance, after) <= max(shortest * 1.2, 24 * 3600)


def test_an_explicit_schedule_is_kept_and_its_last_wait_repeats() -> None:
    plan = EndpointRetryPolicy(max_retries=5, schedule=(5, 300, 1800), jitter=0)
    assert [plan.delay(n, 0.5) for n in (1, 2, 3, 4)] == [5, 300, 1800, 1800]


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120),
        (" 3 ", 3),
        ("Sun, 22 Nov 2026 12:01:00 GMT", 60),
        ("Sun, 22 Nov 2026 11:00:00 GMT", 0),
        ("soon", None),
        ("-5", None),
        ("", None),
        (None, None),
        ("99999999999", None),
    ],
)
def test_retry_after_in_seconds_or_as_a_date(value: str | None, seconds: float | None) -> None:
    assert parse_retry_after(value, NOW) == seconds


@given(st.text("0123456789 :,.+-²١SunNovGMT", max_size=40))
def test_any_retry_after_is_understood_or_ignored(text: str) -> None:
    assert (parse_retry_after(text, NOW) or 0) >= 0


@pytest.mark.parametrize(
    "text",
    [
        "²",
        "١٢",
        "Sun, 22 Nov 99999999999 12:01:00 GMT",
        "Mon, 01 Jan 0001 00:00:00 +9999",
        "1e9",
        "nan",
    ],
)
def test_odd_retry_after(text: str) -> None:
    assert parse_retry_after(text, NOW) in (None, 0.0)


@pytest.mark.parametrize(
    ("activity_attempt", "refusals", "before", "made"),
    [
        (1, None, 0, 0),
        (7, 6, 0, 0),  # refused six times
        (4, 1, 0, 2),  # refused once, failed or lost twice
        (2, 0, 3, 4),
        (9, None, 2, 2),  # never begun, for whatever reason
    ],
)
def test_refusals_are_not_attempts_but_lost_workers_are(
    activity_attempt: int, refusals: int | None, before: int, made: int
) -> None:
    assert attempts_made(activity_attempt, refusals, before) == made


def test_only_2xx_is_success() -> None:
    assert [status for status in (199, 200, 204, 299, 300, 302, 400, 500) if succeeded(status)] == [
        200,
        204,
        299,
    ]


@pytest.mark.parametrize(
    ("wanted", "event", "covered"),
    [
        (["*"], "a.b", True),
        (["message.*"], "message.sent", True),
        (["message.*"], "messages.sent", False),
        (["message.sent"], "message.sent", True),
        (["message.sent"], "message.sent.x", False),
        (["message.*"], "message", False),
        ([], "a", False),
    ],
)
def test_subscriptions(wanted: list[str], event: str, covered: bool) -> None:
    assert subscribes(wanted, event) is covered


@given(st.text(max_size=200))
def test_the_oracle_verifies_what_we_sign(text: str) -> None:
    secrets = [new_secret(), "seu-secret-seguro"]
    keys = [signing_key(secret) for secret in secrets]
    at = datetime.now(UTC)
    body = json.dumps({"text": text})
    headers = signature_headers(
        event_id="evt_1", event_type="t", tenant_id="x", at=at, body=body, keys=keys
    )
    for key in keys:
        assert Webhook(key).verify(body, headers) == {"text": text}


def test_a_secret_not_in_the_standard_form_is_used_as_bytes() -> None:
    assert signing_key("seu-secret-seguro") == b"seu-secret-seguro"
    assert signing_key("whsec_" + base64.b64encode(b"k" * 24).decode()) == b"k" * 24
    assert signing_key("whsec_not base64!") == b"whsec_not base64!"


def test_an_endpoint_is_disabled_only_after_enough_time_and_failures() -> None:
    after = timedelta(hours=120)
    assert give_up(NOW - timedelta(hours=121), 100, NOW, after, 100)
    assert not give_up(NOW - timedelta(hours=119), 1000, NOW, after, 100)
    assert not give_up(NOW - timedelta(hours=500), 99, NOW, after, 100)
    assert not give_up(None, 0, NOW, timedelta(0), 0)
