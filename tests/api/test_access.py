"""API keys: who may do what, and whose messages one sees."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from api.app import check_exposure
from pytake.clock import now
from pytake.settings import ConfigurationError
from pytake.storage import keys
from pytake.storage.engine import Database
from tests.stack import EXAMPLE, Stack, fresh_recipient, make_settings, running_stack


@pytest.fixture(scope="module")
async def guarded(
    own_temporal_address: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[Stack, dict[str, str]]]:
    settings = make_settings(tmp_path_factory.mktemp("guarded"), requests_per_second=20)
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


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


async def test_without_a_valid_key_nothing_is_answered(
    guarded: tuple[Stack, dict[str, str]],
) -> None:
    stack, texts = guarded
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
            ("GET", "/api/v1/whatsapp/numbers"),
        ):
            response = await stack.api.request(
                method, path, headers=headers, json=EXAMPLE if method == "POST" else None
            )
            assert response.status_code == 401, (headers, path)
            assert response.headers["www-authenticate"] == "Bearer"
    assert (await stack.api.get("/health/live")).status_code == 200


async def test_another_tenants_messages_are_not_there(
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
        await asyncio.sleep(0.2)  # the key may make 20 requests a second
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
    shared = stack.settings.phone_number_id
    assert (
        await stack.api.post(f"/api/v1/whatsapp/numbers/{shared}/pause", headers=bearer(texts["a"]))
    ).status_code == 404


async def test_another_tenants_endpoints_and_deliveries_are_not_there(
    guarded: tuple[Stack, dict[str, str]],
) -> None:
    stack, texts = guarded
    mine, theirs = bearer(texts["a"]), bearer(texts["b"])
    body = {"url": "http://127.0.0.1:9/", "events": ["*"]}
    made = (await stack.api.post("/api/v1/webhooks/configure", json=body, headers=mine)).json()
    event = {"event_type": "order.paid", "payload": {}}
    sent = (await stack.api.post("/api/v1/webhooks/send", json=event, headers=mine)).json()
    paths = [
        ("GET", f"config/{made['id']}"), ("PATCH", f"config/{made['id']}"), ("DELETE", f"config/{made['id']}"),
        ("POST", f"config/{made['id']}/rotate-secret"), ("POST", f"config/{made['id']}/test"),
        ("GET", f"metrics/{made['id']}"), ("GET", f"delivery/{sent['deliveries'][0]}"),
        ("POST", f"retry/{sent['event_id']}"),
    ]  # fmt: skip
    for method, path in paths:
        json = {} if method == "PATCH" else None
        response = await stack.api.request(
            method, f"/api/v1/webhooks/{path}", headers=theirs, json=json
        )
        assert response.status_code == 404, (method, path, response.text)
    taken = {**body, "id": made["id"]}
    assert (
        await stack.api.post("/api/v1/webhooks/configure", json=taken, headers=theirs)
    ).status_code == 404
    for path in ("configs", "deliveries", "dead-letter"):
        listed = await stack.api.get(f"/api/v1/webhooks/{path}", headers=theirs)
        assert made["id"] not in listed.text
    other = {**event, "tenant_id": "tenant-b"}
    assert (
        await stack.api.post("/api/v1/webhooks/send", json=other, headers=mine)
    ).status_code == 403


async def test_a_key_that_asks_too_often_is_told_when_to_come_back(
    guarded: tuple[Stack, dict[str, str]],
) -> None:
    stack, texts = guarded
    statuses = []
    for _ in range(260):
        response = await stack.api.get("/api/v1/whatsapp/numbers", headers=bearer(texts["b"]))
        statuses.append(response.status_code)
        if response.status_code == 429:
            break
    assert set(statuses) <= {200, 429}
    assert (statuses[-1], len(statuses) >= 30) == (429, True)
    assert response.headers["Retry-After"] == "1"
    assert response.json()["type"].endswith("too-many-requests")
    # Another key has its own measure.
    other = await stack.api.get("/api/v1/whatsapp/numbers", headers=bearer(texts["admin"]))
    assert other.status_code == 200


async def test_the_key_is_stored_hashed(guarded: tuple[Stack, dict[str, str]]) -> None:
    stack, texts = guarded
    secret = texts["a"].split("_", 2)[2]
    stored = (
        Path(stack.settings.data_dir / "pytake.db").read_bytes()
        + Path(stack.settings.data_dir / "pytake.db-wal").read_bytes()
    )
    assert texts["a"].split("_")[1].encode() in stored
    assert secret.encode() not in stored


def test_without_a_key_only_loopback_is_served(tmp_path: Path) -> None:
    settings = make_settings(tmp_path, host="0.0.0.0")
    database = Database(settings.sqlalchemy_url, threads=1)
    database.migrate()
    with pytest.raises(ConfigurationError, match="refusing to listen on"):
        check_exposure(settings)
    assert "no API key" in (check_exposure(make_settings(tmp_path)) or "")
    database.write_now(keys.create, tenant_id="t", admin=False, name="", now=now())
    assert check_exposure(settings) is None
    database.close()


def test_an_unmigrated_database_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="pytake migrate"):
        check_exposure(make_settings(tmp_path))
