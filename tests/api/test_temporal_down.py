"""The API while Temporal has never been up: stored data is served, the rest is 503, nothing is 500."""

from pathlib import Path

import pytest
import uvicorn

from api.app import create_app
from pytake.database.engine import Database
from tests.hooks import CONFIGURE
from tests.stack import EXAMPLE, free_port, http, make_settings, serving


async def test_stored_data_is_served_while_temporal_is_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", f"127.0.0.1:{free_port()}")
    settings = make_settings(tmp_path, PYTAKE_KEYLESS=True)
    database = Database(settings.storage.sqlalchemy_url)
    database.migrate()
    config = uvicorn.Config(
        create_app(settings), host="127.0.0.1", port=settings.api.port, log_config=None
    )
    async with (
        serving(uvicorn.Server(config)),
        http(f"http://127.0.0.1:{settings.api.port}/api/v1/") as api,
    ):
        made = await api.post("webhooks/configure", json={**CONFIGURE, "events": ["*"]})
        assert made.status_code == 201, made.text
        path = f"webhooks/config/{made.json()['id']}"
        changed = await api.patch(path, json={"rate_limit_per_second": 7})
        assert (changed.status_code, changed.json()["rate_limit_per_second"]) == (200, 7)
        event = {"tenant_id": "tenant1", "event_type": "a.b", "payload": {}}
        sent = await api.post("webhooks/send", json=event)
        assert (sent.status_code, len(sent.json()["deliveries"])) == (202, 1)
        for answer in (
            await api.post(f"webhooks/retry/{sent.json()['event_id']}"),
            await api.post("queue/send", json=EXAMPLE),
        ):
            assert answer.status_code == 503, answer.text
            assert answer.headers["retry-after"] == "2"
        assert (await api.delete(path)).status_code == 204
    database.close()
