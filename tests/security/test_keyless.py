"""An API without keys serves this machine's own programs and pages only, and only until the first key."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import delete
from typer.testing import CliRunner

from api import access
from pytake.access import keyless, keys
from pytake.access.keyless import MARKER, check_keys
from pytake.access.tables import ApiKey
from pytake.cli import app
from pytake.clock import now
from pytake.database.engine import Database
from pytake.sandbox.server import build_server as build_sandbox
from pytake.settings import ConfigurationError
from tests.security.api_alone import Alone, api_alone
from tests.stack import eventually, http, make_settings, serving

NUMBERS = "/api/v1/whatsapp/numbers"
ENDPOINT = {"url": "https://1.1.1.1/", "events": ["*"], "secret": "a-secret-to-steal"}


@pytest.fixture
async def alone(tmp_path: Path) -> AsyncIterator[Alone]:
    async with api_alone(tmp_path, PYTAKE_KEYLESS=True) as running:
        yield running


def migrated(directory: Path, **changes: Any) -> Any:
    settings = make_settings(directory, **changes)
    database = Database(settings.storage.sqlalchemy_url, threads=1)
    database.migrate()
    return settings, database


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({}, "PYTAKE_KEYLESS"),
        ({"PYTAKE_KEYLESS": False}, "PYTAKE_KEYLESS"),
        ({"PYTAKE_KEYLESS": True, "PYTAKE_HOST": "0.0.0.0"}, "refusing to listen on 0.0.0.0"),
        ({"PYTAKE_HOST": "0.0.0.0"}, "key create"),
        ({"PYTAKE_KEYLESS": True}, None),
    ],
)
def test_only_an_explicit_loopback_host_serves_without_keys(
    tmp_path: Path, changes: dict[str, Any], refusal: str | None
) -> None:
    settings, database = migrated(tmp_path, **changes)
    if refusal is None:
        assert check_keys(settings.api, settings.storage)
    else:
        with pytest.raises(ConfigurationError, match=refusal):
            check_keys(settings.api, settings.storage)
    database.close()


def test_revoked_keys_count_and_an_empty_database_does_not_open_the_api(tmp_path: Path) -> None:
    settings, database = migrated(tmp_path, PYTAKE_KEYLESS=True)
    key, _ = database.write_now(keys.create, tenant_id="t", admin=True, name="", now=now())
    assert not check_keys(settings.api, settings.storage)
    database.write_now(keys.revoke, key.id, now())
    assert not check_keys(settings.api, settings.storage)
    database.write_now(lambda session: session.execute(delete(ApiKey)))
    with pytest.raises(ConfigurationError, match="is it the right database"):
        check_keys(settings.api, settings.storage)
    database.close()
    _, other = migrated(
        tmp_path, PYTAKE_KEYLESS=True, DATABASE_URL=f"sqlite:///{tmp_path / 'other.db'}"
    )
    with pytest.raises(ConfigurationError, match="is it the right database"):
        check_keys(settings.api, settings.storage.model_copy(update={"database_url": other.url}))
    other.close()


def test_creating_a_key_leaves_the_marker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No API has run between the key's creation and the loss of its database."""
    before = os.umask(0o022)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTAKE_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path / 'lost.db'}")
    made = CliRunner().invoke(app, ["key", "create", "--admin"])
    os.umask(before)
    assert made.exit_code == 0, made.output
    assert (tmp_path / "data" / MARKER).exists()


def test_an_unmigrated_database_is_named(tmp_path: Path) -> None:
    settings = make_settings(tmp_path)
    with pytest.raises(ConfigurationError, match="pytake migrate"):
        check_keys(settings.api, settings.storage)


async def test_the_first_key_closes_the_api_permanently(
    alone: Alone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access, "FRESH_SECONDS", 0.2)
    assert (await alone.client.get(NUMBERS)).status_code == 200
    key, _ = alone.database.write_now(keys.create, tenant_id="t", admin=True, name="", now=now())

    async def closed() -> bool:
        return (await alone.client.get(NUMBERS)).status_code == 401

    await eventually(closed, 10)
    assert (alone.settings.storage.data_dir / MARKER).exists()
    alone.database.write_now(keys.revoke, key.id, now())
    await asyncio.sleep(0.5)
    assert await closed()
    alone.database.write_now(lambda session: session.execute(delete(ApiKey)))
    (alone.settings.storage.data_dir / MARKER).unlink()
    await asyncio.sleep(0.5)
    assert await closed()


async def test_the_marker_file_alone_closes_the_api(tmp_path: Path) -> None:
    keyless.write_marker(tmp_path)
    async with api_alone(tmp_path, PYTAKE_KEYLESS=True) as alone:
        assert (await alone.client.get(NUMBERS)).status_code == 401


EVIL = "http://evil.example"
FOREIGN = [
    {"Host": "evil.example"},
    {"Host": "evil.example:8080"},
    {"Host": "127.0.0.1.evil.example"},
    {"Host": "10.0.0.7"},
    {"X-Forwarded-For": "127.0.0.1"},
    {"X-Forwarded-Host": "127.0.0.1"},
    {"Forwarded": "for=127.0.0.1"},
    {"Origin": EVIL},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:1"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
]


async def test_web_pages_and_proxies_are_refused(alone: Alone) -> None:
    calls: list[tuple[str, str, Any]] = [
        ("POST", "/api/v1/webhooks/configure", ENDPOINT),
        ("POST", f"{NUMBERS}/{alone.settings.whatsapp.phone_number_id}/pause", None),
        ("GET", NUMBERS, None),
        ("GET", "/metrics", None),
        ("POST", "/api/v1/codec/decode", {"payloads": []}),
    ]
    for headers in FOREIGN:
        for method, path, body in calls:
            answer = await alone.client.request(method, path, json=body, headers=headers)
            assert answer.status_code == 403, (headers, path)
            assert "pytake key create" in answer.json()["detail"]
    assert (await alone.client.get("/api/v1/webhooks/configs")).json() == []


async def test_commands_and_our_own_pages_are_served(alone: Alone) -> None:
    port = alone.settings.api.port
    own = f"http://127.0.0.1:{port}"
    for headers in (
        {},
        {"Host": f"localhost:{port}"},
        {"Host": f"[::1]:{port}"},
        {"Origin": own, "Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
        {"Host": f"localhost:{port}", "Origin": f"http://localhost:{port}"},
    ):
        assert (await alone.client.get(NUMBERS, headers=headers)).status_code == 200, headers
    answer = await alone.client.get("/api/v1/codec", headers={"Host": "evil.example"})
    assert answer.status_code == 403
    page = {"Origin": alone.settings.api.temporal_ui_url, "Sec-Fetch-Site": "same-site"}
    decoded = await alone.client.post("/api/v1/codec/decode", json={"payloads": []}, headers=page)
    assert decoded.status_code != 403
    assert decoded.headers["Access-Control-Allow-Origin"] == page["Origin"]


async def test_an_unsigned_callback_is_taken_from_this_machine_only(tmp_path: Path) -> None:
    path, body = "/api/v1/whatsapp/webhook", {"entry": []}
    async with api_alone(tmp_path, PYTAKE_KEYLESS=True, WHATSAPP_APP_SECRET=None) as alone:
        assert (await alone.client.post(path, json=body)).status_code == 200
        for headers in FOREIGN:
            assert (await alone.client.post(path, json=body, headers=headers)).status_code == 403


async def test_the_sandbox_is_for_this_machine_only(tmp_path: Path) -> None:
    settings = make_settings(tmp_path)
    async with (
        serving(build_sandbox(settings)),
        http(f"http://127.0.0.1:{settings.sandbox.port}") as sandbox,
    ):
        fault = {"kind": "latency", "seconds": 5}
        for headers in FOREIGN:
            answer = await sandbox.post("/sandbox/faults", json=fault, headers=headers)
            assert answer.status_code == 403, headers
            assert (await sandbox.get("/sandbox/messages", headers=headers)).status_code == 403
        assert (await sandbox.get("/sandbox/stats")).status_code == 200
        for path in ("/sandbox/stats", "/sandbox/docs", "/nowhere"):
            answer = await sandbox.get(path)
            assert answer.headers["X-Content-Type-Options"] == "nosniff", path


async def test_responses_forbid_content_sniffing(alone: Alone) -> None:
    for path in (NUMBERS, "/docs", "/openapi.json", "/health/live", "/nowhere"):
        answer = await alone.client.get(path)
        assert answer.headers.get_list("X-Content-Type-Options") == ["nosniff"], path
    refused = await alone.client.get(NUMBERS, headers={"Authorization": "Bearer x"})
    assert (refused.status_code, refused.headers["X-Content-Type-Options"]) == (401, "nosniff")
    reader, writer = await asyncio.open_connection("127.0.0.1", alone.settings.api.port)
    writer.write(b"no HTTP at all\r\n\r\n")
    assert b"nosniff" in (await reader.read()).lower()
    writer.close()
