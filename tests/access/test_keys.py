"""API keys: what each may do, and whose messages it may see."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from pytake.access import keys
from pytake.clock import now
from pytake.messages.contracts import new_message_id
from pytake.messages.tables import Message
from pytake.numbers import store as numbers
from pytake.whatsapp.errors import rule_for
from tests.stack import (
    EXAMPLE,
    Stack,
    bearer,
    eventually,
    fresh_recipient,
    http,
    make_settings,
    running_stack,
)

NUMBERS = "/api/v1/whatsapp/numbers"


@pytest.fixture(scope="module")
async def guarded(
    own_temporal_address: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[Stack, dict[str, str]]]:
    settings = make_settings(tmp_path_factory.mktemp("guarded"), PYTAKE_REQUESTS_PER_SECOND=20)
    async with running_stack(settings, own_temporal_address) as stack:
        texts = {}
        for name, tenant, admin in (
            ("a", "tenant-a", False),
            ("b", "tenant-b", False),
            ("admin", "default", True),
            ("revoked", "tenant-a", False),
        ):
            key, texts[name] = await stack.database.write(
                keys.create, tenant_id=tenant, admin=admin, name=name, now=now()
            )
            if name == "revoked":
                await stack.database.write(keys.revoke, key.id, now())
        for tenant in ("tenant-a", "tenant-b"):
            await stack.share(tenant)
        yield stack, texts


@pytest.fixture
async def stranger(guarded: tuple[Stack, dict[str, str]]) -> AsyncIterator[httpx.AsyncClient]:
    """A client without a key."""
    async with http(str(guarded[0].api.base_url)) as client:
        yield client


async def key_of(stack: Stack, tenant: str) -> dict[str, str]:
    """The header of a new key for a tenant."""
    _, text = await stack.database.write(
        keys.create, tenant_id=tenant, admin=False, name="", now=now()
    )
    return bearer(text)


async def test_requests_without_a_valid_key_are_refused(
    guarded: tuple[Stack, dict[str, str]], stranger: httpx.AsyncClient
) -> None:
    _, texts = guarded
    forged = texts["a"][:-1] + ("A" if texts["a"][-1] != "A" else "B")
    wrong: list[dict[str, str]] = [
        {},
        bearer("x"),
        bearer(forged),
        bearer(texts["revoked"]),
        {"Authorization": texts["a"]},
        {"Authorization": f"Basic {texts['a']}"},
    ]
    for headers in wrong:
        for method, path in (
            ("POST", "/api/v1/queue/send"),
            ("GET", "/api/v1/queue/stats"),
            ("GET", "/api/v1/queue/message/x"),
            ("GET", NUMBERS),
            ("GET", "/metrics"),
            ("GET", "/nowhere"),
        ):
            response = await stranger.request(
                method, path, headers=headers, json=EXAMPLE if method == "POST" else None
            )
            assert response.status_code == 401, (headers, path)
            assert response.headers["www-authenticate"] == "Bearer"
    assert (await stranger.get("/health/live")).status_code == 200


async def test_another_tenants_messages_are_invisible(
    guarded: tuple[Stack, dict[str, str]],
) -> None:
    stack, texts = guarded
    mine, theirs, admin = bearer(texts["a"]), bearer(texts["b"]), bearer(texts["admin"])
    sent = await stack.send(to=fresh_recipient(), headers=mine)
    path = f"/api/v1/queue/message/{sent['message_id']}"
    for headers, status in ((mine, 200), (theirs, 404), (admin, 200)):
        assert (await stack.api.get(path, headers=headers)).status_code == status
    for method, suffix in (("POST", "/cancel"), ("POST", "/retry"), ("PATCH", "")):
        body = {"scheduled_for": "2030-01-01T00:00:00Z"} if method == "PATCH" else None
        assert (
            await stack.api.request(method, path + suffix, headers=theirs, json=body)
        ).status_code == 404
    for _ in range(100):
        if (await stack.api.get(path, headers=mine)).json()["status"] == "read":
            break
        await asyncio.sleep(0.2)  # the key is limited to 20 requests per second
    assert (await stack.api.get(path, headers=theirs)).status_code == 404
    listed = (await stack.api.get("/api/v1/queue/messages", headers=theirs)).json()["messages"]
    assert sent["message_id"] not in [message["message_id"] for message in listed]
    assert (await stack.api.get("/api/v1/queue/stats", headers=theirs)).json()["read"] == 0


async def test_a_key_that_names_another_tenant_is_refused(
    guarded: tuple[Stack, dict[str, str]],
) -> None:
    stack, texts = guarded
    body = {**EXAMPLE, "tenant_id": "tenant-b"}
    assert (
        await stack.api.post("/api/v1/queue/send", json=body, headers=bearer(texts["a"]))
    ).status_code == 403
    own = await stack.api.post("/api/v1/queue/send", json=body, headers=bearer(texts["b"]))
    assert own.status_code == 202
    by_admin = await stack.api.post("/api/v1/queue/send", json=body, headers=bearer(texts["admin"]))
    seen = await stack.api.get(by_admin.headers["location"], headers=bearer(texts["b"]))
    assert seen.json()["tenant_id"] == "tenant-b"


async def test_a_tenant_sends_only_from_its_own_or_shared_numbers(
    guarded: tuple[Stack, dict[str, str]],
) -> None:
    stack, texts = guarded
    number = await stack.register(tenant="tenant-b")
    body = {**EXAMPLE, "phone_number_id": number}
    refused = await stack.api.post("/api/v1/queue/send", json=body, headers=bearer(texts["a"]))
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["field"] == "phone_number_id"
    assert (
        await stack.api.post("/api/v1/queue/send", json=body, headers=bearer(texts["b"]))
    ).status_code == 202
    assert (
        await stack.api.post(f"/api/v1/whatsapp/numbers/{number}/pause", headers=bearer(texts["a"]))
    ).status_code == 404
    shared = stack.settings.whatsapp.phone_number_id
    assert (
        await stack.api.post(f"/api/v1/whatsapp/numbers/{shared}/pause", headers=bearer(texts["a"]))
    ).status_code == 404
    await stack.database.write(numbers.hold, number, rule_for(190), now())
    for path in ("numbers", "alerts"):
        mine, theirs = [
            {
                item["phone_number_id"]
                for item in (
                    await stack.api.get(f"/api/v1/whatsapp/{path}", headers=bearer(texts[key]))
                ).json()
            }
            for key in ("a", "b")
        ]
        assert (number in theirs, mine) == (True, {shared} if path == "numbers" else set())
    await stack.database.write(numbers.resume, number, now())


async def test_a_message_that_names_no_number_goes_out_from_the_tenants_own(
    guarded: tuple[Stack, dict[str, str]],
) -> None:
    stack, _ = guarded
    newcomer = await key_of(stack, "newcomer")
    problem = await stack.send(to=fresh_recipient(), headers=newcomer, expect=422)
    assert problem["errors"][0]["field"] == "phone_number_id"
    assert stack.settings.whatsapp.phone_number_id not in str(problem)
    number = await stack.register(tenant="newcomer")
    sent = await stack.send(to=fresh_recipient(), headers=newcomer)
    view = await stack.api.get(f"/api/v1/queue/message/{sent['message_id']}", headers=newcomer)
    assert view.json()["phone_number_id"] == number
    several = {await stack.register(tenant="several") for _ in range(2)}
    problem = await stack.send(
        to=fresh_recipient(), headers=await key_of(stack, "several"), expect=422
    )
    assert all(number in str(problem) for number in several)


async def test_sending_does_not_reveal_who_wrote_to_a_shared_number(
    guarded: tuple[Stack, dict[str, str]],
) -> None:
    stack, texts = guarded
    owner, guest = await key_of(stack, "default"), bearer(texts["a"])
    stranger, writer = fresh_recipient(), fresh_recipient()
    await stack.inbound(writer)
    body = {"message_type": "text", "content": {"body": "oi"}}

    async def send(to: str, headers: dict[str, str]) -> httpx.Response:
        return await stack.api.post("/api/v1/queue/send", json={"to": to, **body}, headers=headers)

    async def known() -> bool:
        return (await send(writer, owner)).status_code == 202

    await eventually(known)
    assert (await send(writer, bearer(texts["admin"]))).status_code == 202
    said, asked = [], []
    for contact in (stranger, writer):
        refused = await send(contact, guest)
        assert refused.status_code == 422
        said.append({key: value for key, value in refused.json().items() if key != "instance"})
        # The welcome answers a first message; for a guest it is always the first, even if the contact
        # has written to the owner before.
        message = {"from": contact, "message": "oi", "explain": True}
        tried = await stack.api.post("/api/v1/auto-responder/process", json=message, headers=guest)
        asked.append(tried.json())
    assert said[0] == said[1]
    assert asked[0] == asked[1]
    assert asked[0]["matched"]


async def test_figures_of_a_shared_number_are_the_tenants_own(
    guarded: tuple[Stack, dict[str, str]],
) -> None:
    stack, texts = guarded
    mine, theirs, admin = bearer(texts["a"]), bearer(texts["b"]), bearer(texts["admin"])
    shared = stack.settings.whatsapp.phone_number_id
    later = (now() + timedelta(hours=1)).isoformat()

    async def figures(headers: dict[str, str]) -> list[float]:
        async def get(path: str) -> dict[str, Any]:
            found = await stack.api.get(
                f"/api/v1/{path}", headers=headers, params={"phone_number_id": shared}
            )
            assert found.status_code == 200, found.text
            body: dict[str, Any] = found.json()
            return body

        limits, stats, first = (
            await get("whatsapp/limits"),
            await get("queue/stats"),
            await get("whatsapp/dashboard"),
        )
        overview = next(row for row in first["overview"] if row["phone_number_id"] == shared)
        return [
            limits["used"],
            limits["messages_per_second_used"],
            stats["rate_limit"]["used_24h"],
            overview["used_24h"],
            overview["pending"],
        ]

    before = await figures(mine)
    whole: dict[str, Any] = {"headers": theirs, "phone_number_id": shared}
    sent = await stack.send(to=fresh_recipient(), **whole)
    await stack.send(to=fresh_recipient(), **whole, scheduled_for=later)

    async def counted() -> bool:
        path = f"/api/v1/queue/message/{sent['message_id']}"
        seen = (await stack.api.get(path, headers=theirs)).json()
        everything = await figures(admin)
        await asyncio.sleep(0.2)  # each key is limited to 20 requests per second
        return seen["status"] == "read" and all(figure > 0 for figure in everything)

    await eventually(counted)
    after = await figures(mine)
    # The tenant's own messages drop out of the per-minute figure; nothing else changes.
    assert after[1] <= before[1]
    del before[1], after[1]
    assert after == before
    assert (await figures(theirs))[0] >= 1, "it sees its own use"


async def test_a_dead_letter_is_not_retried_from_a_number_that_now_belongs_to_another_tenant(
    guarded: tuple[Stack, dict[str, str]],
) -> None:
    stack, texts = guarded
    number, message_id = await stack.register(tenant="tenant-b"), new_message_id()
    row = Message(
        id=message_id,
        tenant_id="tenant-a",
        phone_number_id=number,
        recorded=True,
        status="dead",
        created_at=now(),
        updated_at=now(),
        recipient="5561994013828",
        message_type="template",
        content=EXAMPLE["content"],
        priority="High",
        max_attempts=5,
    )
    await stack.database.write(lambda session: session.add(row))
    path = f"/api/v1/queue/message/{message_id}/retry"
    refused = await stack.api.post(path, headers=bearer(texts["a"]))
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["field"] == "phone_number_id"


async def test_removing_a_number_with_waiting_messages_needs_force(
    guarded: tuple[Stack, dict[str, str]], own_temporal_address: str
) -> None:
    stack, _ = guarded
    number, headers = await stack.register(tenant="leaving"), await key_of(stack, "leaving")
    later = (now() + timedelta(hours=1)).isoformat()
    sent = await stack.send(to=fresh_recipient(), headers=headers, scheduled_for=later)
    path = f"/api/v1/queue/message/{sent['message_id']}"

    async def listed() -> bool:
        query = f"PyTakeNumber = '{number}' AND ExecutionStatus = 'Running'"
        return (await stack.client.count_workflows(query)).count == 1

    await eventually(listed)

    def pytake(*arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {
            **os.environ,
            "DATABASE_URL": stack.database.url,
            "TEMPORAL_ADDRESS": own_temporal_address,
        }
        return subprocess.run(
            [sys.executable, "-m", "pytake.cli", "number", *arguments],
            capture_output=True,
            text=True,
            env=environment,
        )

    refused = await asyncio.to_thread(pytake, "remove", number)
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1), refused
    assert "1 scheduled messages" in refused.stderr
    removed = await asyncio.to_thread(pytake, "remove", number, "--force")
    assert removed.returncode == 0, removed
    soon = (now() + timedelta(seconds=1)).isoformat()
    moved = await stack.api.patch(path, json={"scheduled_for": soon}, headers=headers)
    assert moved.status_code < 300, moved.text

    async def dead() -> bool:
        view = (await stack.api.get(path, headers=headers)).json()
        await asyncio.sleep(0.2)
        return (
            view["status"] == "failed" and view["error"]["title"] == "The number is not registered"
        )

    await eventually(dead)


async def test_another_tenants_endpoints_and_deliveries_are_invisible(
    guarded: tuple[Stack, dict[str, str]],
) -> None:
    stack, texts = guarded
    mine, theirs = bearer(texts["a"]), bearer(texts["b"])
    body = {"url": "http://127.0.0.1:9/", "events": ["*"]}
    made = (await stack.api.post("/api/v1/webhooks/configure", json=body, headers=mine)).json()
    event = {"event_type": "order.paid", "payload": {}}
    sent = (await stack.api.post("/api/v1/webhooks/send", json=event, headers=mine)).json()
    paths = [
        ("GET", f"config/{made['id']}"),
        ("PATCH", f"config/{made['id']}"),
        ("DELETE", f"config/{made['id']}"),
        ("POST", f"config/{made['id']}/rotate-secret"),
        ("POST", f"config/{made['id']}/test"),
        ("GET", f"metrics/{made['id']}"),
        ("GET", f"delivery/{sent['deliveries'][0]}"),
        ("POST", f"retry/{sent['event_id']}"),
    ]
    for method, path in paths:
        json = {} if method == "PATCH" else None
        response = await stack.api.request(
            method, f"/api/v1/webhooks/{path}", headers=theirs, json=json
        )
        assert response.status_code == 404, (method, path, response.text)
    for path in ("configs", "deliveries", "dead-letter"):
        listed = await stack.api.get(f"/api/v1/webhooks/{path}", headers=theirs)
        assert made["id"] not in listed.text
    # Choosing an id that another tenant uses creates a separate endpoint, and reveals nothing about theirs.
    taken = {"url": "http://127.0.0.1:9/taken", "events": ["*"], "id": made["id"]}
    own = await stack.api.post("/api/v1/webhooks/configure", json=taken, headers=theirs)
    assert (own.status_code, own.json()["tenant_id"]) == (201, "tenant-b")
    assert own.json()["secret"] != made["secret"]
    path = f"/api/v1/webhooks/config/{made['id']}"
    assert (await stack.api.get(path, headers=mine)).json()["url"] == body["url"]
    named = await stack.api.get(path, headers=theirs, params={"tenant_id": made["tenant_id"]})
    assert named.status_code == 403
    assert (await stack.api.delete(path, headers=theirs)).status_code == 204
    assert (await stack.api.get(path, headers=mine)).status_code == 200
    other = {**event, "tenant_id": "tenant-b"}
    assert (
        await stack.api.post("/api/v1/webhooks/send", json=other, headers=mine)
    ).status_code == 403


async def test_a_key_over_its_rate_gets_retry_after(
    guarded: tuple[Stack, dict[str, str]],
) -> None:
    stack, texts = guarded
    statuses = []
    for _ in range(260):
        response = await stack.api.get(NUMBERS, headers=bearer(texts["b"]))
        statuses.append(response.status_code)
        if response.status_code == 429:
            break
    assert set(statuses) <= {200, 429}
    assert (statuses[-1], len(statuses) >= 30) == (429, True)
    assert response.headers["Retry-After"] == "1"
    assert response.json()["type"].endswith("too-many-requests")
    # Another key has its own limit.
    other = await stack.api.get(NUMBERS, headers=bearer(texts["admin"]))
    assert other.status_code == 200


async def test_the_key_is_stored_hashed(guarded: tuple[Stack, dict[str, str]]) -> None:
    stack, texts = guarded
    secret = texts["a"].split("_", 2)[2]
    stored = (
        Path(stack.settings.storage.data_dir / "pytake.db").read_bytes()
        + Path(stack.settings.storage.data_dir / "pytake.db-wal").read_bytes()
    )
    assert texts["a"].split("_")[1].encode() in stored
    assert secret.encode() not in stored
