"""A new version of the worker takes over under load: by Temporal's worker versioning, nothing stops."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pytake.temporal import embedded as embedded_temporal
from pytake.temporal.queues import DEPLOYMENT
from tests.stack import (
    ENCRYPTION_KEY,
    Stack,
    eventually,
    fresh_recipient,
    make_settings,
    running_stack,
)


@contextmanager
def worker_of(stack: Stack, build_id: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A worker process with a build id."""
    settings = stack.settings
    environment = {
        k: v for k, v in os.environ.items() if not k.startswith(("WHATSAPP_", "PYTAKE_"))
    }
    environment |= {
        "PYTAKE_BUILD_ID": build_id,
        "PYTAKE_DATA_DIR": str(settings.storage.data_dir),
        "PYTAKE_SANDBOX": "true",
        "WHATSAPP_API_BASE_URL": settings.whatsapp.api_base_url,
        "MESSAGE_TIER": "TIER_UNLIMITED",
        "PYTAKE_ENCRYPTION_KEYS": ENCRYPTION_KEY,
        "PYTAKE_ENCRYPT_PAYLOADS": "false",
        "PYTAKE_SNAPSHOT_SECONDS": "0",
        "PYTAKE_METRICS_PORT": "0",
        "PYTAKE_RECEIPT_WAIT_SECONDS": "2",
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "pytake.cli", "worker"],
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=settings.storage.data_dir,
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()


async def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command as an operator would."""
    address = os.environ["TEMPORAL_ADDRESS"]
    line = [embedded_temporal.binary(), "worker", "deployment", *arguments, "--address", address]
    return await asyncio.to_thread(
        subprocess.run, line, capture_output=True, text=True, timeout=30, check=False
    )


async def make_current(build_id: str) -> None:
    """Route everything to a version, once its workers are there."""
    version = ("--deployment-name", DEPLOYMENT, "--build-id", build_id)

    async def done() -> bool:
        return (await command("set-current-version", *version, "--yes")).returncode == 0

    await eventually(done, 30)


async def test_a_new_version_takes_over_and_nothing_is_lost_or_sent_twice(
    own_temporal_address: str, tmp_path: Path
) -> None:
    settings = make_settings(tmp_path)
    async with running_stack(settings, own_temporal_address, with_worker=False) as stack:
        ids: list[str] = []
        stop = asyncio.Event()

        async def load() -> None:
            while not stop.is_set():
                ids.append((await stack.send(to=fresh_recipient()))["message_id"])
                await asyncio.sleep(0.15)

        with worker_of(stack, "v1", tmp_path / "v1.log") as old:
            await make_current("v1")
            later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
            scheduled = await stack.send(to=fresh_recipient(), scheduled_for=later)
            failing = fresh_recipient()
            await stack.fault("error", code=131016, to=failing, count=3)
            retried = await stack.send(to=failing)
            loading = asyncio.create_task(load())
            await asyncio.sleep(2)
            with worker_of(stack, "v2", tmp_path / "v2.log"):
                await make_current("v2")
                await asyncio.sleep(1)
                old.send_signal(signal.SIGTERM)
                assert await asyncio.to_thread(old.wait, 40) == 0
                now_due = (datetime.now(UTC) + timedelta(seconds=1)).isoformat()
                url = f"/api/v1/queue/message/{scheduled['message_id']}"
                moved = await stack.api.patch(url, json={"scheduled_for": now_due})
                assert moved.status_code == 200
                await asyncio.sleep(2)
                stop.set()
                await loading
                assert len(ids) > 20
                for message_id in (*ids, retried["message_id"], scheduled["message_id"]):
                    await stack.until(message_id, "read", seconds=30)
                    await stack.accepted_once(message_id)
                described = await command("describe", "--name", DEPLOYMENT)
                assert "v2" in described.stdout
                assert await _versions(stack, ids[0]) == {"v1"}
                assert await _versions(stack, scheduled["message_id"]) == {"v2"}


async def _versions(stack: Stack, message_id: str) -> set[str]:
    """The versions whose workers ran the last run of a message's workflow."""
    history = await stack.client.get_workflow_handle(message_id).fetch_history()
    completed = [
        event.workflow_task_completed_event_attributes
        for event in history.events
        if event.HasField("workflow_task_completed_event_attributes")
    ]
    return {attributes.deployment_version.build_id for attributes in completed}
