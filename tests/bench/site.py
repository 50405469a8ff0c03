"""A ``pytake up`` to measure, a bare worker on the same Temporal server, and clients."""

import asyncio
import hashlib
import hmac
import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from temporalio.client import Client

from pytake.settings import SANDBOX_TOKEN
from tests.stack import EXAMPLE, fresh_recipient
from tests.up import Up

SECRET = "bench-secret"


@dataclass
class Site:
    """The measured installation, and clients for it."""

    up: Up
    api: httpx.AsyncClient
    sandbox: httpx.AsyncClient
    temporal: Client

    async def queue(self, count: int, requests: int = 4, **changes: Any) -> list[str]:
        """Queue messages in batches of 100, ``requests`` of them at a time; their ids."""
        ids: list[str] = []
        slots = asyncio.Semaphore(requests)

        async def batch(size: int) -> None:
            messages = [{**EXAMPLE, "to": fresh_recipient(), **changes} for _ in range(size)]
            async with slots:
                response = await self.api.post(
                    "/api/v1/queue/send/batch", json={"messages": messages}
                )
            result = response.json()
            assert result["rejected"] == 0, result
            ids.extend(item["message_id"] for item in result["results"])

        sizes = (min(100, count - start) for start in range(0, count, 100))
        await asyncio.gather(*(batch(size) for size in sizes))
        return ids

    def recorded(self, ids: list[str]) -> int:
        """How many of the messages have their outcome in the database."""
        path = self.up.directory / "data" / "pytake.db"
        marks = ",".join("?" * len(ids))
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
            statement = f"SELECT count(*) FROM message WHERE recorded AND id IN ({marks})"  # noqa: S608
            count: int = connection.execute(statement, ids).fetchone()[0]
        return count

    def workers(self) -> int:
        """How many workers have reported themselves."""
        path = self.up.directory / "data" / "pytake.db"
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
            statement = "SELECT count(*) FROM process_heartbeat WHERE kind = 'worker'"
            count: int = connection.execute(statement).fetchone()[0]
        return count

    async def until_recorded(self, ids: list[str], seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        while self.recorded(ids) < len(ids):
            assert time.monotonic() < deadline, f"{self.recorded(ids)} of {len(ids)} recorded"
            await asyncio.sleep(0.02)

    async def accepted(self) -> dict[str, tuple[str, float]]:
        """Message id -> (number, unix time of acceptance)."""
        listed = (await self.sandbox.get("/sandbox/messages")).json()
        return {
            m["biz_opaque_callback_data"]: (m["phone_number_id"], m["received_at"]) for m in listed
        }

    def number(self, name: str, rate: float) -> None:
        """Register a number."""
        environment = {**self.up.environment, "PYTAKE_DATA_DIR": str(self.up.directory / "data")}
        subprocess.run(
            [
                sys.executable,
                "-m",
                "pytake.cli",
                "number",
                "add",
                name,
                "--tenant",
                "default",
                "--messages-per-second",
                str(rate),
                "--tier",
                "TIER_UNLIMITED",
            ],
            cwd=self.up.directory,
            env=environment,
            check=True,
            capture_output=True,
        )

    def worker_environment(self) -> dict[str, str]:
        """The environment of an additional worker."""
        up = self.up
        return {
            **up.environment,
            "PYTAKE_DATA_DIR": str(up.directory / "data"),
            "TEMPORAL_ADDRESS": f"127.0.0.1:{up.temporal_port}",
            "WHATSAPP_API_BASE_URL": f"http://127.0.0.1:{up.sandbox_port}",
            "WHATSAPP_ACCESS_TOKEN": SANDBOX_TOKEN,
            "PYTAKE_SANDBOX": "true",
            "PYTAKE_METRICS_PORT": "0",
        }

    async def callback(self, updates: list[dict[str, Any]]) -> float:
        """POST statuses as Meta does; seconds to the acknowledgement."""
        value = {"metadata": {"phone_number_id": "106540352242922"}, "statuses": updates}
        change = {"field": "messages", "value": value}
        body = json.dumps({"entry": [{"id": "1", "changes": [change]}]}).encode()
        signature = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
        started = time.perf_counter()
        response = await self.api.post(
            "/api/v1/whatsapp/webhook",
            content=body,
            headers={"X-Hub-Signature-256": f"sha256={signature}"},
        )
        assert response.status_code == 200, response.text
        return time.perf_counter() - started

    def memory(self, part: str) -> float:
        """Resident memory of a part, in MB."""
        pid = self.up.children()[part]
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024
        return 0.0


@asynccontextmanager
async def site(directory: Path, **environment: str) -> AsyncIterator[Site]:
    up = Up(directory)
    up.environment |= {
        "MESSAGE_TIER": "TIER_UNLIMITED",
        "WHATSAPP_MESSAGES_PER_SECOND": "1000",
        "WHATSAPP_APP_SECRET": SECRET,
        "PYTAKE_SNAPSHOT_SECONDS": "0",
        "PYTAKE_AUTO_RESPONDER": "false",
        "PYTAKE_WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8",
        "PYTAKE_LOG_LEVEL": "WARNING",
        **environment,
    }
    with up.running():
        async with up.clients() as (api, sandbox):
            address = f"127.0.0.1:{up.temporal_port}"
            bare = subprocess.Popen(
                [sys.executable, "-m", "tests.bench.bare", address],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=dict(os.environ),
            )
            try:
                assert bare.stdout is not None
                await asyncio.to_thread(bare.stdout.readline)
                yield Site(up, api, sandbox, await Client.connect(address))
            finally:
                bare.kill()
                bare.wait()
