"""Endpoint ids chosen by tenants cannot be taken over, even concurrently; and quotas."""

import asyncio
import json
from collections import Counter
from typing import Any

import httpx
import pytest
from standardwebhooks import Webhook

from pytake.webhooks import endpoints
from pytake.webhooks.contracts import endpoint_key
from tests.hooks import CONFIGURE, configure, send, tenant, until
from tests.receiver import Receiver
from tests.stack import Stack

PATH = "/api/v1/webhooks"


async def test_two_tenants_may_use_the_same_endpoint_id(stack: Stack, receiver: Receiver) -> None:
    one, two = tenant(), tenant()
    ids = [f"whe_{one.replace('-', '')[6:]}{index}" for index in range(8)]

    async def make(tenant_id: str, endpoint_id: str) -> dict[str, Any]:
        url = receiver.script(f"/{tenant_id}", 200)
        wanted = "order.shipped" if endpoint_id == ids[0] else "order.lost"
        return await configure(stack, tenant_id, url, id=endpoint_id, events=[wanted])

    made = await asyncio.gather(*(make(name, wanted) for wanted in ids for name in (one, two)))
    assert Counter(item["tenant_id"] for item in made) == {one: 8, two: 8}
    for name in (one, two):
        listed = (await stack.api.get(f"{PATH}/configs")).json()
        own = [item for item in listed if item["tenant_id"] == name]
        assert {item["id"] for item in own} == set(ids)
        assert {item["url"] for item in own} == {receiver.url(f"/{name}")}
    # If two tenants use the same id, an admin must name the tenant, and a change affects only theirs.
    path = f"{PATH}/config/{ids[0]}"
    for response in (await stack.api.get(path), await stack.api.delete(path)):
        assert response.status_code == 422, response.text
        assert response.json()["errors"][0]["field"] == "tenant_id"
    body = {"url": receiver.url("/elsewhere"), "events": ["*"], "id": ids[0]}
    assert (await stack.api.post(f"{PATH}/configure", json=body)).status_code == 422
    sent = {name: await send(stack, name, idempotency_key="the same") for name in (one, two)}
    views = [await until(stack, sent[name]["deliveries"][0], "delivered") for name in (one, two)]
    secrets = {item["tenant_id"]: item["secret"] for item in made if item["id"] == ids[0]}
    for name in (one, two):
        (got,) = receiver.received[f"/{name}"]
        assert Webhook(secrets[name]).verify(got.body, got.headers)["tenant_id"] == name
        figures = await stack.api.get(f"{PATH}/metrics/{ids[0]}", params={"tenant_id": name})
        assert figures.json()["successes"] == 1
    for name, view in zip((one, two), views, strict=True):
        workflow = view["links"]["temporal_ui"].rsplit("/", 1)[1]
        assert workflow.endswith(endpoint_key(name, ids[0]))
        history = await stack.client.get_workflow_handle(workflow).fetch_history()
        (scheduled,) = (
            event.activity_task_scheduled_event_attributes
            for event in history.events
            if event.HasField("activity_task_scheduled_event_attributes")
        )
        assert scheduled.priority.fairness_key == endpoint_key(name, ids[0])
        assert len(scheduled.priority.fairness_key.encode()) <= 64
    assert (await stack.api.delete(path, params={"tenant_id": one})).status_code == 204
    assert (await stack.api.get(path)).json()["tenant_id"] == two


async def test_concurrent_changes_create_one_endpoint_and_lose_nothing(stack: Stack) -> None:
    name = tenant()
    wanted = {**CONFIGURE, "tenant_id": name, "id": f"whe_{name.replace('-', '')[6:]}"}

    async def post(**changes: Any) -> httpx.Response:
        return await stack.api.post(f"{PATH}/configure", json={**wanted, **changes})

    answers = await asyncio.gather(*(post(secret=f"secret-number-{i}") for i in range(8)))
    assert Counter(answer.status_code for answer in answers) == {201: 1, 200: 7}
    path = f"{PATH}/config/{wanted['id']}"
    changes: list[dict[str, Any]] = [
        {"description": "shop"},
        {"ordered": True},
        {"custom_headers": {"X-A": "abcdefghijklmnop"}},
        {"max_retries": 3},
    ]
    patched = await asyncio.gather(*(stack.api.patch(path, json=body) for body in changes))
    assert {answer.status_code for answer in patched} == {200}
    found = (await stack.api.get(path)).json()
    assert (found["description"], found["ordered"], found["max_retries"]) == ("shop", True, 3)
    assert found["custom_headers"] == {"X-A": "****mnop"}
    row = await stack.database.read(endpoints.get, name, wanted["id"])
    assert row is not None
    assert (await stack.api.delete(path)).status_code == 204
    late = (name, row.id, row.updated_at, {"description": "back from the dead"})
    assert not await stack.database.write(endpoints.change, *late)
    assert (await stack.api.get(path)).status_code == 404


async def test_quotas_hold_under_concurrency_and_say_what_to_do(
    stack: Stack, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = tenant()
    monkeypatch.setattr(stack.settings.webhooks, "endpoints", 3)
    monkeypatch.setattr(stack.settings.webhooks, "targets", 2)
    monkeypatch.setattr(stack.settings.webhooks, "event_bytes", 3000)
    url = receiver.script(f"/{name}", 200)
    body = {"tenant_id": name, "url": url, "events": ["*"]}
    answers = await asyncio.gather(
        *(stack.api.post(f"{PATH}/configure", json=body) for _ in range(12))
    )
    assert Counter(answer.status_code for answer in answers) == {201: 3, 422: 9}
    (refused,) = {answer.text for answer in answers if answer.status_code == 422}
    assert json.loads(refused)["errors"][0]["field"] == "tenant_id"
    assert "PYTAKE_WEBHOOK_ENDPOINTS" in refused
    event = {"tenant_id": name, "event_type": "a.b"}

    async def targeted(path: str) -> httpx.Response:
        target = receiver.script(f"/{name}/{path}", 200)
        changes = {"payload": {}, "target_url": target}
        return await stack.api.post(f"{PATH}/send", json={**event, **changes})

    statuses = [(await targeted(path)).status_code for path in ("1", "2", "3", "1")]
    assert statuses == [202, 202, 422, 202]
    assert "PYTAKE_WEBHOOK_TARGETS" in (await targeted("3")).text
    sizes = {200: 202, 1000: 422}
    for size, status in sizes.items():
        large = {**event, "payload": {"x": "é" * (size // 2)}}
        answer = await stack.api.post(f"{PATH}/send", json=large)
        assert answer.status_code == status, answer.text
    assert answer.json()["errors"][0]["field"] == "payload"
    assert "3 endpoints" in answer.text
    assert "PYTAKE_WEBHOOK_EVENT_BYTES" in answer.text
    stored = await stack.api.get(f"{PATH}/deliveries", params={"tenant_id": name, "limit": 100})
    assert len(stored.json()["deliveries"]) == 3 + 3


async def test_concurrent_events_to_a_new_target_create_one_endpoint(
    stack: Stack, receiver: Receiver
) -> None:
    name = tenant()
    url = receiver.script(f"/{name}", 200)
    event = {"tenant_id": name, "event_type": "a.b", "payload": {}, "target_url": url}
    answers = await asyncio.gather(*(stack.api.post(f"{PATH}/send", json=event) for _ in range(12)))
    assert {answer.status_code for answer in answers} == {202}
    assert len([secret for a in answers if (secret := a.json()["secret"])]) == 1
    listed = await stack.api.get(f"{PATH}/deliveries", params={"tenant_id": name, "limit": 100})
    deliveries = listed.json()["deliveries"]
    assert (len(deliveries), len({item["endpoint_id"] for item in deliveries})) == (12, 1)


async def test_surprising_configurations_give_hints_at_once(stack: Stack) -> None:
    name = tenant()
    wanted = {**CONFIGURE, "tenant_id": name}
    made = (await stack.api.post(f"{PATH}/configure", json=wanted)).json()
    secret, nothing = made["hints"]
    assert "Standard Webhooks" in secret
    assert f"Nothing will come: tenant {name} has neither an API key nor a number" in nothing
    await stack.register(tenant=name)
    path = f"{PATH}/config/{made['id']}"
    assert (await stack.api.patch(path, json={"description": "x"})).json()["hints"] == [secret]
    rotated = (await stack.api.post(f"{path}/rotate-secret")).json()
    assert rotated["hints"] == []
    own = {**wanted, "tenant_id": "default", "secret": rotated["secret"]}
    answer = (await stack.api.post(f"{PATH}/configure", json=own)).json()
    assert answer["hints"] == []
    await stack.api.delete(f"{PATH}/config/{answer['id']}")
    broken = {**wanted, "secret": "whsec_not base64"}
    refused = await stack.api.post(f"{PATH}/configure", json=broken)
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "secret")
