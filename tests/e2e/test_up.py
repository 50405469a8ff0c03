"""``pytake up`` as its users run it: real processes, killed for real."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.receiver import Receiver
from tests.stack import EXAMPLE, eventually, free_port, fresh_recipient, http
from tests.up import Up


@pytest.fixture
def up(tmp_path: Path) -> Up:
    return Up(tmp_path)


Site = tuple[Up, httpx.AsyncClient, httpx.AsyncClient]
"""A running ``up``, and clients of its API and of its sandbox."""


@pytest.fixture(scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """A site shared by the tests that kill only its worker."""
    up = Up(tmp_path_factory.mktemp("site"))
    up.environment["PYTAKE_WEBHOOK_ALLOWED_NETWORKS"] = "127.0.0.0/8"
    with up.running():
        async with up.clients() as (api, sandbox):
            yield up, api, sandbox
    log = up.log.read_text()
    assert "PyTake is down" in log
    assert "Traceback" not in log


async def send(api: httpx.AsyncClient, **changes: object) -> str:
    response = await api.post(
        "/api/v1/queue/send", json={**EXAMPLE, "to": fresh_recipient(), **changes}
    )
    assert response.status_code == 202, response.text
    message_id: str = response.json()["message_id"]
    return message_id


async def wait_for(
    api: httpx.AsyncClient, message_id: str, status: str, seconds: float = 60
) -> None:
    async def reached() -> bool:
        try:
            return bool(
                (await api.get(f"/api/v1/queue/message/{message_id}")).json().get("status")
                == status
            )
        except httpx.HTTPError:
            return False

    await eventually(reached, seconds, lambda: f"{message_id} never was {status}")


async def times_accepted(sandbox: httpx.AsyncClient) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for message in (await sandbox.get("/sandbox/messages")).json():
        found.setdefault(message["biz_opaque_callback_data"], []).append(message["received_at"])
    return found


async def refuses_others(up: Up) -> None:
    """Another ``up`` on the folder, on ports of its own, and another on its ports, in its own folder."""
    other, third = Up(up.directory), Up(up.directory / "third")
    other.arguments[:2] = up.arguments[:2]
    third.arguments[2:4] = up.arguments[2:4]
    results = await asyncio.gather(
        *(
            asyncio.to_thread(
                subprocess.run,
                [sys.executable, "-m", "pytake.cli", "up", *one.arguments],
                cwd=up.directory,
                env=one.environment,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            for one in (other, third)
        )
    )
    assert [result.returncode for result in results] == [1, 1]
    assert up.process is not None
    address = f"http://127.0.0.1:{up.port}"
    assert f"already running as pid {up.process.pid} at {address}" in results[0].stderr
    assert "--port" in results[1].stderr
    assert not any("Traceback" in result.stderr for result in results)


def private(directory: Path) -> bool:
    """Whether nobody else can read the state: the databases of both, the journal, the key, the lock."""
    paths = list(directory.iterdir())
    assert {"pytake.db", "temporal.db", "sandbox.jsonl", "up.lock"} <= {path.name for path in paths}
    return not any(path.stat().st_mode & 0o077 for path in (directory, *paths))


def loosen(directory: Path) -> None:
    directory.chmod(0o755)
    for path in directory.iterdir():
        path.chmod(0o644)


async def test_scheduled_messages_survive_kill_9_of_everything(up: Up) -> None:
    with up.running():
        async with up.clients() as (api, _):
            read = await send(api)
            await wait_for(api, read, "read", 15)
            at = datetime.now(UTC) + timedelta(seconds=20)
            scheduled = [await send(api, scheduled_for=at.isoformat()) for _ in range(10)]
            await refuses_others(up)
            assert private(up.directory / "data")
        up.kill_all()
    loosen(up.directory / "data")
    with up.running():
        async with up.clients() as (api, sandbox):
            due = max(at, datetime.now(UTC)).timestamp()
            assert private(up.directory / "data"), "what an earlier version left open is closed"
            assert (await api.get(f"/api/v1/queue/message/{read}")).json()["status"] == "read"
            for message_id in scheduled:
                await wait_for(api, message_id, "read", 60)
            accepted = await times_accepted(sandbox)
            for message_id in scheduled:
                assert len(accepted[message_id]) == 1
                assert at.timestamp() <= accepted[message_id][0] < due + 10


async def test_a_worker_killed_during_the_call_sends_once(site: Site) -> None:
    up, api, sandbox = site
    await sandbox.post("/sandbox/faults", json={"kind": "hang_after", "count": 1})
    message_id = await send(api)

    async def accepted() -> bool:
        return message_id in await times_accepted(sandbox)

    await eventually(accepted)
    os.kill(up.children()["worker"], signal.SIGKILL)
    assert (await api.get(f"/api/v1/queue/message/{message_id}")).status_code == 200
    await wait_for(api, message_id, "read", 60)

    async def ended() -> bool:
        events = (await api.get(f"/api/v1/queue/message/{message_id}")).json()["timeline"]
        return "accepted" in [event["event"] for event in events]

    await eventually(ended, 60)
    (sent,) = [
        message
        for message in (await sandbox.get("/sandbox/messages")).json()
        if message["biz_opaque_callback_data"] == message_id
    ]
    view = (await api.get(f"/api/v1/queue/message/{message_id}")).json()
    assert view["wamid"] == sent["wamid"]
    assert "worker | died" in up.log.read_text().replace("  ", " ")


async def test_a_delivery_continues_after_its_worker_is_killed_between_attempts(
    site: Site, receiver: Receiver
) -> None:
    up, api, _ = site
    url = receiver.script("/hook", 500, 200)
    endpoint = {
        "tenant_id": "t",
        "url": url,
        "events": ["*"],
        "retry_schedule": [4],
        "max_retries": 3,
    }
    made = (await api.post("/api/v1/webhooks/configure", json=endpoint)).json()
    event = {"tenant_id": "t", "event_type": "order.paid", "payload": {"id": 1}}
    sent = (await api.post("/api/v1/webhooks/send", json=event)).json()

    async def attempted() -> bool:
        return len(receiver.received["/hook"]) == 1

    await eventually(attempted)
    await asyncio.sleep(0.5)
    os.kill(up.children()["worker"], signal.SIGKILL)

    async def delivered() -> bool:
        found = await api.get(f"/api/v1/webhooks/delivery/{sent['deliveries'][0]}")
        return bool(found.json()["status"] == "delivered")

    await eventually(delivered, 60)
    assert len(receiver.received["/hook"]) == 2
    assert made["secret"] not in up.log.read_text()


async def test_a_worker_killed_during_an_answers_delay_answers_once(site: Site) -> None:
    up, api, sandbox = site
    rule = {
        "id": "lento",
        "name": "Lento",
        "delay_seconds": 5,
        "trigger": {"type": "Keyword", "words": ["dúvida"]},
        "response": {"action": "SendMessage", "text": "Boa pergunta."},
    }
    made = await api.post("/api/v1/auto-responder/rules", json=rule)
    assert made.status_code == 201, made.text
    contact = fresh_recipient()
    await sandbox.post("/sandbox/inbound", json={"from": contact, "text": "uma DUVIDA"})

    async def decided() -> bool:
        state = (await api.get(f"/api/v1/auto-responder/contacts/{contact}")).json()
        return bool(state["uses"])

    async def answers() -> list[Any]:
        messages = (await sandbox.get("/sandbox/messages")).json()
        return [message for message in messages if message["to"] == contact]

    async def answered() -> bool:
        return bool(await answers())

    await eventually(decided)
    os.kill(up.children()["worker"], signal.SIGKILL)
    await eventually(answered, 60)
    await asyncio.sleep(3)
    (answer,) = await answers()
    assert answer["payload"]["text"]["body"] == "Boa pergunta."
    state = (await api.get(f"/api/v1/auto-responder/contacts/{contact}")).json()
    assert [(use["rule_id"], use["count"]) for use in state["uses"]] == [("lento", 1)]
    assert contact not in up.log.read_text()
    async with http(f"http://127.0.0.1:{up.environment['PYTAKE_METRICS_PORT']}") as worker:
        exposed = (await worker.get("/metrics")).text
    for name in (
        "temporal_activity_schedule_to_start_latency_bucket",
        "pytake_send_seconds_bucket",
    ):
        assert name in exposed


async def test_doctor_reports_problems_and_healthy_parts(up: Up, site: Site) -> None:
    def doctor(**environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "pytake.cli", "doctor"],
            cwd=up.directory,
            capture_output=True,
            text=True,
            env={**up.environment, **environment},
            timeout=60,
            check=False,
        )

    alone = await asyncio.to_thread(
        doctor,
        TEMPORAL_ADDRESS=f"127.0.0.1:{free_port()}",
        WHATSAPP_ACCESS_TOKEN="x",
        WHATSAPP_PHONE_NUMBER_ID="1",
        WHATSAPP_API_BASE_URL=f"http://127.0.0.1:{free_port()}",
    )
    assert alone.returncode == 1
    for hint in ("pytake migrate", "TEMPORAL_ADDRESS", "cannot be reached", "WHATSAPP_APP_SECRET"):
        assert hint in " ".join(alone.stdout.split()), hint
    running, *_ = site
    well = await asyncio.to_thread(
        doctor,
        TEMPORAL_ADDRESS=f"127.0.0.1:{running.temporal_port}",
        PYTAKE_DATA_DIR=running.arguments[1],
        PYTAKE_SANDBOX="true",
        WHATSAPP_API_BASE_URL=f"http://127.0.0.1:{running.sandbox_port}",
    )
    assert well.returncode == 0, well.stdout
    assert well.stdout.count("ok") >= 4


_IMPATIENT = """
from pytake.process import supervisor
from pytake.cli import main
supervisor._BACKOFF = (0.1, 0.2)
main()
"""


def test_a_part_that_keeps_dying_ends_up_with_its_last_lines(up: Up) -> None:
    (up.directory / "data").mkdir()
    (up.directory / "data" / "temporal.db").mkdir()
    run = subprocess.run(
        [sys.executable, "-c", _IMPATIENT, "up", *up.arguments],
        cwd=up.directory,
        env=up.environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert run.returncode == 1
    assert "temporal keeps dying" in run.stderr
    assert "unable to open" in run.stderr
    assert "Traceback" not in run.stdout + run.stderr


def test_a_key_is_required_for_remote_access_and_once_keys_exist(up: Up) -> None:
    def start(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "pytake.cli", "up", *up.arguments, *arguments],
            cwd=up.directory,
            env=up.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    beyond = start("--host", "0.0.0.0")
    assert (beyond.returncode, beyond.stderr.count("\n")) == (1, 1)
    assert "refusing to listen on 0.0.0.0 without an API key" in beyond.stderr
    (up.directory / "data" / "keys-exist").touch()
    emptied = start()
    assert (emptied.returncode, emptied.stderr.count("\n")) == (1, 1)
    assert "is it the right database?" in emptied.stderr


def test_invalid_settings_are_reported_on_one_line(up: Up) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "pytake.cli", "up"],
        cwd=up.directory,
        env={**up.environment, "MESSAGE_TIER": "TIER_X"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 1
    assert run.stderr.startswith("configuration: MESSAGE_TIER: unknown tier")
