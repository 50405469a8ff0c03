"""Webhooks when things go wrong: receivers that fail, hang and vanish; dead letters and replay."""

import asyncio
import itertools
import json
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
)
from standardwebhooks import Webhook

from tests.hooks import configure, delivery, send, store, tenant, until
from tests.receiver import Receiver
from tests.stack import Stack, eventually, fresh_recipient


async def test_500_three_times_then_200(stack: Stack, receiver: Receiver) -> None:
    tenant_id = tenant()
    url = receiver.script(f"/{tenant_id}", 500, 500, 500, 200)
    made = await configure(stack, tenant_id, url, retry_schedule=[0.3, 0.6, 1.2])
    sent = await send(stack, tenant_id)
    view = await until(stack, sent["deliveries"][0], "delivered")
    assert [a["status"] for a in view["attempt_log"]] == [500, 500, 500, 200]
    got = receiver.received[f"/{tenant_id}"]
    assert len({item.headers["webhook-id"] for item in got}) == 1
    for item in got:
        Webhook(made["secret"]).verify(item.body, item.headers)
    gaps = [later.at - earlier.at for earlier, later in itertools.pairwise(got)]
    assert all(gap >= wanted for gap, wanted in zip(gaps, (0.3, 0.6, 1.2), strict=True)), gaps
    figures = (await stack.api.get(f"/api/v1/webhooks/metrics/{made['id']}")).json()
    assert (figures["successes"], figures["failed_attempts"], figures["success_rate"]) == (
        1,
        3,
        1.0,
    )
    assert figures["latency_ms"]["p50"] > 0
    assert sum(day["failures"] for day in figures["per_day"]) == 3


async def test_retry_after_is_honoured(stack: Stack, receiver: Receiver) -> None:
    tenant_id = tenant()
    url = receiver.script(f"/{tenant_id}", (429, {"Retry-After": "2"}, b""), 200)
    await configure(stack, tenant_id, url, retry_schedule=[0.1])
    sent = await send(stack, tenant_id)
    await until(stack, sent["deliveries"][0], "delivered")
    first, second = receiver.received[f"/{tenant_id}"]
    assert second.at - first.at >= 2


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ("hang", "no complete answer within 1 s"),
        ("close", "ReadError|RemoteProtocolError|disconnected"),
        ((302, {"Location": "/elsewhere"}, b""), "HTTP 302"),
    ],
)
async def test_a_request_without_a_response_is_retried_and_ends_as_a_dead_letter(
    stack: Stack, receiver: Receiver, answer: Any, error: str
) -> None:
    import re

    tenant_id = tenant()
    url = receiver.script(f"/{tenant_id}", answer)
    made = await configure(stack, tenant_id, url, timeout_seconds=1, max_retries=1)
    sent = await send(stack, tenant_id)
    view = await until(stack, sent["deliveries"][0], "dead_letter")
    assert view["attempts"] == len(receiver.received[f"/{tenant_id}"]) == 2
    assert re.search(error, view["last_error"]), view["last_error"]
    assert receiver.received["/elsewhere"] == []
    listed = (
        await stack.api.get("/api/v1/webhooks/dead-letter", params={"endpoint_id": made["id"]})
    ).json()
    assert [item["id"] for item in listed["deliveries"]] == sent["deliveries"]
    receiver.script(f"/{tenant_id}", 200)
    retried = await stack.api.post(f"/api/v1/webhooks/retry/{sent['event_id']}")
    assert retried.status_code == 202
    view = await until(stack, sent["deliveries"][0], "delivered")
    assert view["run"] == 1
    assert (await stack.api.post(f"/api/v1/webhooks/retry/{sent['event_id']}")).status_code == 409


async def test_a_50_mb_answer_is_cut_off(stack: Stack, receiver: Receiver) -> None:
    tenant_id = tenant()
    await configure(stack, tenant_id, receiver.script(f"/{tenant_id}", "large"))
    sent = await send(stack, tenant_id)
    view = await until(stack, sent["deliveries"][0], "delivered")
    assert len(view["attempt_log"][0]["body"]) == 16 * 1024
    assert view["attempt_log"][0]["duration_ms"] < 2000


async def test_410_disables_once_and_missed_events_are_replayed(
    stack: Stack, receiver: Receiver
) -> None:
    tenant_id = tenant()
    url = receiver.script(f"/{tenant_id}", 410)
    made = await configure(stack, tenant_id, url, events=["order.*"])
    watcher = receiver.script(f"/{tenant_id}/watch", 200)
    await configure(stack, tenant_id, watcher, events=["webhook.disabled"])
    first = await send(stack, tenant_id)
    await until(stack, first["deliveries"][0], "dead_letter")
    state = (await stack.api.get(f"/api/v1/webhooks/config/{made['id']}")).json()
    assert (state["active"], state["disabled_reason"]) == (False, "answered 410 Gone")
    missed = [await send(stack, tenant_id) for _ in range(5)]
    assert (await delivery(stack, missed[0]["deliveries"][0]))["status"] == "discarded"

    async def told() -> bool:
        return len(receiver.received[f"/{tenant_id}/watch"]) == 1

    await eventually(told)
    receiver.script(f"/{tenant_id}", 200)
    assert (await stack.api.post(f"/api/v1/webhooks/config/{made['id']}/enable")).json()[
        "active"
    ] is True
    wanted = {"endpoint_id": made["id"], "statuses": ["discarded"]}
    counted = await stack.api.post("/api/v1/webhooks/retry", json=wanted)
    assert (counted.json()["dry_run"], counted.json()["total"]) == (True, 5)
    started = (
        await stack.api.post(
            "/api/v1/webhooks/retry", json={**wanted, "dry_run": False, "per_second": 4}
        )
    ).json()
    for item in missed:
        await until(stack, item["deliveries"][0], "delivered")

    async def finished() -> bool:
        progress = (await stack.api.get(f"/api/v1/webhooks/retry/{started['id']}")).json()
        return bool((progress["status"], progress["done"], progress["total"]) == ("finished", 5, 5))

    await eventually(finished)
    times = sorted(item.at for item in receiver.received[f"/{tenant_id}"][1:])
    assert times[-1] - times[0] >= 0.9, "paced: four a second"


async def test_a_replay_can_be_cancelled(stack: Stack, receiver: Receiver) -> None:
    tenant_id = tenant()
    made = await configure(stack, tenant_id, receiver.script(f"/{tenant_id}", 200), active=False)
    for _ in range(8):
        await send(stack, tenant_id)
    await stack.api.post(f"/api/v1/webhooks/config/{made['id']}/enable")
    started = (
        await stack.api.post(
            "/api/v1/webhooks/retry",
            json={"endpoint_id": made["id"], "dry_run": False, "per_second": 1},
        )
    ).json()

    async def one() -> bool:
        return len(receiver.received[f"/{tenant_id}"]) >= 1

    await eventually(one)
    await stack.api.post(f"/api/v1/webhooks/retry/{started['id']}/cancel")

    async def cancelled() -> bool:
        return bool(
            (await stack.api.get(f"/api/v1/webhooks/retry/{started['id']}")).json()["status"]
            == "cancelled"
        )

    await eventually(cancelled)
    assert len(receiver.received[f"/{tenant_id}"]) < 8


async def test_failing_long_and_often_disables_once(stack: Stack, receiver: Receiver) -> None:
    from pytake.clock import now
    from pytake.webhooks import deliveries
    from pytake.webhooks.deliveries import Attempt, DisableRule

    tenant_id = tenant()
    made = await configure(
        stack,
        tenant_id,
        receiver.script(f"/{tenant_id}", 500),
        events=["order.*"],
        retry_schedule=[3600],
    )
    await configure(
        stack, tenant_id, receiver.script(f"/{tenant_id}/watch", 200), events=["webhook.disabled"]
    )
    sent = await send(stack, tenant_id)

    async def failed_once() -> bool:
        return (await delivery(stack, sent["deliveries"][0]))["attempts"] == 1

    await eventually(failed_once)
    rule = DisableRule(timedelta(hours=120), 4)

    async def fail(number: int) -> bool:
        attempt = Attempt(number, now(), ok=False, duration_ms=1, status=500)
        await stack.database.write(deliveries.log_attempt, sent["deliveries"][0], attempt, rule)
        state = (await stack.api.get(f"/api/v1/webhooks/config/{made['id']}")).json()
        return bool(state["active"])

    assert all([await fail(number) for number in range(2, 8)]), "often, but not for long"
    await store(stack, made["id"], {}, failing_since=now() - timedelta(hours=121))
    assert not await fail(8)
    assert not await fail(9)

    async def told() -> bool:
        return len(receiver.received[f"/{tenant_id}/watch"]) >= 1

    await eventually(told, 30)
    await asyncio.sleep(1)
    assert len(receiver.received[f"/{tenant_id}/watch"]) == 1


async def test_an_ordered_endpoint_gets_a_conversation_in_order(
    stack: Stack, receiver: Receiver
) -> None:
    tenant_id = tenant()
    url = receiver.script(f"/{tenant_id}", 500, 500, 200)
    await configure(stack, tenant_id, url, events=["message.*"], ordered=True, retry_schedule=[1.0])
    await stack.share(tenant_id)
    await stack.send(to=fresh_recipient(), tenant_id=tenant_id)

    def good() -> list[int]:
        return [
            json.loads(item.body)["sequence"] for item in receiver.received[f"/{tenant_id}"][2:]
        ]

    async def complete() -> bool:
        return len(good()) >= 4

    await eventually(complete, 60, lambda: str(good()))
    assert good() == sorted(good())
    assert [
        json.loads(item.body)["sequence"] for item in receiver.received[f"/{tenant_id}"][:3]
    ] == [1, 1, 1]


@pytest.mark.one_database  # the slots of deliveries are the worker's own
async def test_a_hanging_endpoint_delays_nobody(stack: Stack, receiver: Receiver) -> None:
    tenant_id = tenant()
    hanging = receiver.script(f"/{tenant_id}/hang", "hang")
    await configure(
        stack, tenant_id, hanging, timeout_seconds=20, max_retries=0, rate_limit_per_second=20
    )
    paths = [f"/{tenant_id}/{index}" for index in range(4)]
    for path in paths:
        await configure(stack, tenant_id, receiver.script(path, 200))
    for _ in range(25):
        await send(stack, tenant_id)

    async def complete() -> bool:
        return all(len(receiver.received[path]) == 25 for path in paths)

    await eventually(complete, 60)
    # Held up behind the hanging one they would wait for all its attempts, one time-out after the other.
    assert len(receiver.received[f"/{tenant_id}/hang"]) < 25


async def test_a_pending_delivery_is_attempted_at_once_on_demand(
    stack: Stack, receiver: Receiver
) -> None:
    tenant_id = tenant()
    await configure(
        stack, tenant_id, receiver.script(f"/{tenant_id}", 500, 200), retry_schedule=[3600]
    )
    sent = await send(stack, tenant_id)

    async def failed_once() -> bool:
        return (await delivery(stack, sent["deliveries"][0]))["attempts"] == 1

    await eventually(failed_once)
    view = await delivery(stack, sent["deliveries"][0])
    assert view["next_retry_at"] is not None
    await stack.api.post(f"/api/v1/webhooks/retry/{sent['deliveries'][0]}")
    view = await until(stack, sent["deliveries"][0], "delivered", 10)
    assert (view["attempts"], len(receiver.received[f"/{tenant_id}"])) == (2, 2)


async def test_deliveries_left_without_a_workflow_are_swept_up(
    stack: Stack, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant_id = tenant()
    await configure(stack, tenant_id, receiver.script(f"/{tenant_id}", 200))
    with monkeypatch.context() as patch:
        patch.setattr("pytake.webhooks.dispatch.Dispatcher.soon", lambda *_: None)
        sent = await send(stack, tenant_id)
    await until(stack, sent["deliveries"][0], "delivered", 30)


async def test_pending_deliveries_of_a_deleted_endpoint_are_dead_letters(
    stack: Stack, receiver: Receiver
) -> None:
    tenant_id = tenant()
    made = await configure(
        stack, tenant_id, receiver.script(f"/{tenant_id}", 500), retry_schedule=[1]
    )
    sent = await send(stack, tenant_id)

    async def failed_once() -> bool:
        return bool((await delivery(stack, sent["deliveries"][0]))["attempts"] >= 1)

    await eventually(failed_once)
    assert (await stack.api.delete(f"/api/v1/webhooks/config/{made['id']}")).status_code == 204
    await until(stack, sent["deliveries"][0], "dead_letter")
    assert len(receiver.received[f"/{tenant_id}"]) <= 2


async def test_a_request_that_cannot_be_sent_is_logged_as_an_attempt_without_secrets(
    stack: Stack, receiver: Receiver
) -> None:
    """Endpoints that an earlier version stored: each dead letter has its one attempt."""
    key = ec.generate_private_key(ec.SECP256R1())
    locked = key.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"passphrase")
    ).decode()
    secret = "s3cr3t-of-mine"
    sealed_in: list[tuple[dict[str, Any], dict[str, Any], str]] = [
        (
            {"auth_value": f"{secret} "},
            {"auth_type": "BearerToken"},
            "header Authorization begins or ends",
        ),
        ({"custom_headers": {"X-Key": f"{secret}é"}}, {}, "header X-Key must be printable ASCII"),
        ({}, {"url": "http://xn--127.0.0.1/"}, "blocked: is not a valid address"),
        ({"client_certificate": "no", "client_key": locked}, {"auth_type": "mTLS"}, "is encrypted"),
        ({"oauth2": secret}, {"auth_type": "OAuth2"}, "see the worker's log"),
        ({}, {}, "HTTP 503"),
    ]
    sent, endpoints = [], []
    for sealed, columns, _ in sealed_in:
        tenant_id = tenant()
        url = receiver.script(f"/{tenant_id}", (503, {"Retry-After": "²"}, b""))
        made = await configure(stack, tenant_id, url, max_retries=0)
        await store(stack, made["id"], sealed, **columns)
        sent.append((await send(stack, tenant_id))["deliveries"][0])
        endpoints.append((made["id"], tenant_id))
    for delivery_id, (_, _, reason) in zip(sent, sealed_in, strict=True):
        view = await until(stack, delivery_id, "dead_letter")
        assert [reason in item["error"] for item in view["attempt_log"]] == [True], view
        assert secret not in json.dumps(view)
        workflow_id = view["links"]["temporal_ui"].rsplit("/", 1)[1]
        history = await stack.client.get_workflow_handle(workflow_id).fetch_history()
        assert secret not in history.to_json()
        assert reason in history.to_json()
    for endpoint_id, tenant_id in endpoints:  # no list of endpoints could show what was stored
        path = f"/api/v1/webhooks/config/{endpoint_id}"
        gone = await stack.api.delete(path, params={"tenant_id": tenant_id})
        assert gone.status_code == 204, gone.text
