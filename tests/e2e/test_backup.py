"""Backups of a running `pytake up`, and what a restore does to messages sent since."""

import asyncio
import shutil
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from pytake.commands.backup import DATABASES
from tests.e2e.test_up import send, times_accepted, wait_for
from tests.stack import connect, eventually
from tests.up import Up

NUMBER = "106540352242922"


def restore(up: Up, backup: Path, *names: str) -> None:
    data = up.directory / "data"
    for name in names:
        for old in data.glob(f"{name}*"):
            old.unlink()
        shutil.copy(backup / name, data / name)


async def statuses(api: httpx.AsyncClient, ids: list[str]) -> set[str]:
    answers = [await api.get(f"/api/v1/queue/message/{message_id}") for message_id in ids]
    return {answer.json()["status"] for answer in answers}


async def test_a_restored_temporal_sends_nothing_again(tmp_path: Path) -> None:
    up = Up(tmp_path)
    backup = tmp_path / "backup"
    with up.running():
        async with up.clients() as (api, sandbox):
            before = [await send(api) for _ in range(3)]
            for message_id in before:
                await wait_for(api, message_id, "read")
            await api.post(f"/api/v1/whatsapp/numbers/{NUMBER}/pause")
            held = [await send(api) for _ in range(4)]
            for message_id in held:
                await wait_for(api, message_id, "held")
            later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
            scheduled = await send(api, scheduled_for=later)
            made = await asyncio.to_thread(
                subprocess.run,
                [
                    sys.executable,
                    "-m",
                    "pytake.cli",
                    "backup",
                    str(backup),
                    "--data-dir",
                    str(tmp_path / "data"),
                ],
                cwd=tmp_path,
                capture_output=True,
                text=True,
                check=True,
            )
            assert made.stdout.count(" bytes") >= len(DATABASES)
            await api.post(f"/api/v1/whatsapp/numbers/{NUMBER}/resume")
            for message_id in held:
                await wait_for(api, message_id, "read")
            up.kill_all()
    # Temporal lost what it had since the backup: to it, the messages are still in the queue.
    restore(up, backup, "temporal.db")
    with up.running():
        async with up.clients() as (api, sandbox):
            await _until_ended(up, held)
            assert await statuses(api, [*before, *held]) == {"read"}
            assert await statuses(api, [scheduled]) == {"scheduled"}
            assert {len(t) for t in (await times_accepted(sandbox)).values()} == {1}
            up.kill_all()
    # Both as of the backup: the number is paused, and what was queued then can be cancelled first.
    restore(up, backup, *DATABASES)
    with up.running():
        async with up.clients() as (api, sandbox):
            assert await statuses(api, before) == {"read"}
            assert await statuses(api, held) == {"held"}
            for message_id in held:
                answer = await api.post(f"/api/v1/queue/message/{message_id}/cancel")
                assert answer.json()["status"] == "cancelled"
            await api.post(f"/api/v1/whatsapp/numbers/{NUMBER}/resume")
            await wait_for(api, await send(api), "read")
            assert {len(t) for t in (await times_accepted(sandbox)).values()} == {1}


async def _until_ended(up: Up, ids: list[str]) -> None:
    client = await connect(f"127.0.0.1:{up.temporal_port}")

    async def ended() -> bool:
        found = [await client.get_workflow_handle(message_id).describe() for message_id in ids]
        return all(description.close_time is not None for description in found)

    await eventually(ended, 40)


@pytest.mark.parametrize("reason", ["exists already", "has no temporal.db"])
def test_a_backup_that_cannot_be_made_says_why(tmp_path: Path, reason: str) -> None:
    data = tmp_path / "data"
    data.mkdir()
    if reason == "exists already":
        for name in DATABASES:
            sqlite3.connect(data / name).close()
            (data / name).touch()
        (tmp_path / "backup").mkdir()
    made = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytake.cli",
            "backup",
            str(tmp_path / "backup"),
            "--data-dir",
            str(data),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 1
    assert reason in made.stderr
