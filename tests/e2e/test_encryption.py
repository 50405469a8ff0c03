"""Encrypted payloads: unreadable in Temporal, transparent to PyTake, readable by admins."""

import base64
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.fernet import Fernet
from temporalio.client import Client

from pytake.access import keys
from pytake.clock import now
from pytake.temporal.codec import EncryptionCodec
from tests.stack import (
    ENCRYPTION_KEY,
    Stack,
    fresh_recipient,
    http,
    make_settings,
    running_stack,
)

CODEC = "/api/v1/codec"


@pytest.fixture(scope="module")
async def encrypted(
    own_database_url: str, own_temporal_address: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Stack]:
    newer = Fernet.generate_key().decode()
    settings = make_settings(
        tmp_path_factory.mktemp("encrypted"),
        own_database_url,
        PYTAKE_ENCRYPTION_KEYS=f"{newer},{ENCRYPTION_KEY}",
        PYTAKE_ENCRYPT_PAYLOADS=None,
    )
    async with running_stack(settings, own_temporal_address) as stack:
        yield stack


async def history_of(stack: Stack, message_id: str) -> str:
    """The history as somebody reads it who has no keys."""
    plain = await Client.connect(stack.client.service_client.config.target_host)
    history = await plain.get_workflow_handle(message_id).fetch_history()
    return history.to_json()


def as_json(history: str) -> list[dict[str, object]]:
    """All payloads of a history that are encrypted."""
    found: list[dict[str, object]] = []

    def look(value: object) -> None:
        if isinstance(value, dict):
            if {"metadata", "data"} <= value.keys():
                found.append(value)
            for item in value.values():
                look(item)
        if isinstance(value, list):
            for item in value:
                look(item)

    look(json.loads(history))
    mark = base64.b64encode(b"binary/encrypted").decode()
    return [p for p in found if p["metadata"] == {"encoding": mark}]


async def test_no_message_data_is_readable_in_the_history(encrypted: Stack) -> None:
    to = fresh_recipient()
    sent = await encrypted.send(to=to, metadata={"pedido": "segredo-42"}, max_attempts=2)
    await encrypted.until(sent["message_id"], "read")
    history = await history_of(encrypted, sent["message_id"])
    decoded = base64.b64decode(base64.b64encode(history.encode()))
    for secret in (to, "segredo-42", "pytake_saudacao"):
        assert secret.encode() not in decoded
        assert base64.b64encode(secret.encode())[:-4].decode() not in history
    payloads = as_json(history)
    assert len(payloads) >= 4, "input, memo, summary and result"
    answer = await encrypted.api.post(f"{CODEC}/decode", json={"payloads": payloads})
    assert answer.status_code == 200, answer.text
    texts = [base64.b64decode(p["data"]).decode() for p in answer.json()["payloads"]]
    assert any(to in text and "segredo-42" in text for text in texts)
    again = await encrypted.api.post(f"{CODEC}/encode", json=answer.json())
    back = await encrypted.api.post(f"{CODEC}/decode", json=again.json())
    assert back.json() == answer.json()
    assert again.json()["payloads"][0]["data"] != answer.json()["payloads"][0]["data"]


async def test_messages_in_flight_and_failed_are_shown_as_without_encryption(
    encrypted: Stack,
) -> None:
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    waiting = await encrypted.send(
        to=fresh_recipient(), scheduled_for=later, metadata={"pedido": "7"}
    )
    view = await encrypted.message(waiting["message_id"])
    assert (view["status"], view["metadata"]) == ("scheduled", {"pedido": "7"})
    listed = (await encrypted.api.get("/api/v1/queue/messages?status=scheduled")).json()
    assert waiting["message_id"] in [m["message_id"] for m in listed["messages"]]
    to = fresh_recipient()
    await encrypted.fault("error", code=131000, to=to)
    failing = await encrypted.send(to=to, max_attempts=3)
    view = await encrypted.until(failing["message_id"], "retrying")
    assert view["error"]["code"] == 131000
    view = await encrypted.until(failing["message_id"], "failed", seconds=20)
    assert view["error"]["code"] == 131000
    await encrypted.clear_faults()
    again = await encrypted.api.post(f"/api/v1/queue/message/{failing['message_id']}/retry")
    assert again.status_code == 202
    await encrypted.until(failing["message_id"], "read")


async def test_bad_payloads_are_named(encrypted: Stack) -> None:
    mark = base64.b64encode(b"binary/encrypted").decode()
    wrong = {"payloads": [{"metadata": {"encoding": mark}, "data": "AAAA"}]}
    answer = await encrypted.api.post(f"{CODEC}/decode", json=wrong)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "payloads"
    answer = await encrypted.api.post(f"{CODEC}/decode", json={"payloads": [{"data": "&"}]})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "payloads[0].data"


async def test_messages_from_before_encryption_continue(encrypted: Stack) -> None:
    """They were started by an API without keys; the workers have keys by now."""
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    codec = encrypted.client.data_converter.payload_codec
    assert isinstance(codec, EncryptionCodec)
    codec._encrypt = False
    try:
        before = await encrypted.send(to=fresh_recipient(), scheduled_for=later)
    finally:
        codec._encrypt = True
    moved = (datetime.now(UTC) + timedelta(seconds=1)).isoformat()
    path = f"/api/v1/queue/message/{before['message_id']}"
    assert (await encrypted.api.patch(path, json={"scheduled_for": moved})).status_code == 200
    await encrypted.until(before["message_id"], "read")


async def test_the_codec_is_for_admins_and_the_web_ui_only(encrypted: Stack) -> None:
    def create(*, admin: bool) -> str:
        return encrypted.database.write_now(
            keys.create, tenant_id="t", admin=admin, name="", now=now()
        )[1]

    body = {"payloads": [{"metadata": {"encoding": "anNvbi9wbGFpbg=="}, "data": "MQ=="}]}
    tenant, admin = create(admin=False), create(admin=True)

    async def decode(authorization: str | None) -> int:
        headers = {"Authorization": authorization} if authorization else {}
        async with http(str(encrypted.api.base_url)) as stranger:
            response = await stranger.post(f"{CODEC}/decode", json=body, headers=headers)
        if response.status_code == 401:
            assert response.headers["WWW-Authenticate"].startswith("Basic")
        return response.status_code

    password = base64.b64encode(f"me:{admin}".encode()).decode()
    found = [
        await decode(value)
        for value in (
            None,
            f"Bearer {tenant}",
            f"Bearer {admin}",
            f"Basic {password}",
            "Basic !",
        )
    ]
    assert found == [401, 403, 200, 200, 401]
    ui = {"Origin": encrypted.settings.api.temporal_ui_url, "Access-Control-Request-Method": "POST"}
    allowed = await encrypted.api.options(f"{CODEC}/decode", headers=ui)
    assert allowed.headers["Access-Control-Allow-Origin"] == ui["Origin"]
    other = await encrypted.api.options(
        f"{CODEC}/decode", headers={**ui, "Origin": "https://evil.example"}
    )
    assert "Access-Control-Allow-Origin" not in other.headers
    elsewhere = await encrypted.api.options("/api/v1/queue/send", headers=ui)
    assert "Access-Control-Allow-Origin" not in elsewhere.headers
