"""One run: load, faults, calm, and the promises checked from outside."""

import asyncio
import json
import random
import time
from collections import Counter, defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from temporalio.client import Client
from temporalio.service import RPCError

from pytake.messages.contracts import MESSAGE_WORKFLOWS
from pytake.webhooks.contracts import DELIVERY_WORKFLOW
from tests.chaos.driver import Driver
from tests.chaos.faults import FAULTS, ON_POSTGRES, Site
from tests.postgres import Postgres
from tests.receiver import Receiver, receiving
from tests.stack import ENCRYPTION_KEY, eventually
from tests.up import Up

RATE = 10.0
"""Messages a second of the number; the sandbox counts the most in any second."""
_GAP = 3.0
_SETTLE = 150.0
_WORKFLOWS = (*MESSAGE_WORKFLOWS, DELIVERY_WORKFLOW)


@dataclass
class Report:
    """What a run came to."""

    accepted: int = 0
    statuses: dict[str, int] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def text(self) -> str:
        """For the terminal."""
        ends = ", ".join(f"{count} {name}" for name, count in sorted(self.statuses.items()))
        lines = [f"{self.accepted} messages taken: {ends}", *self.notes]
        lines += [f"BROKEN: {promise}" for promise in self.broken] or ["every promise was kept"]
        return "\n".join(lines)


async def run(
    directory: Path,
    chance: random.Random,
    faults: list[str],
    *,
    postgres: Postgres | None = None,
    talk: bool = False,
) -> Report:
    """Start ``pytake up`` on SQLite, or on ``postgres``; strike; check."""
    up = Up(directory)
    if postgres is not None:
        up.environment |= {"DATABASE_URL": postgres.url, "PYTAKE_ENCRYPTION_KEYS": ENCRYPTION_KEY}
    up.environment |= {
        "MESSAGE_TIER": "TIER_UNLIMITED",
        "PYTAKE_WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8",
        "PYTAKE_AUTO_RESPONDER": "false",
        "WHATSAPP_MESSAGES_PER_SECOND": str(RATE),
    }
    async with receiving() as receiver:
        with up.running():
            async with up.clients() as (api, sandbox):
                await _subscribe(api, receiver)
                number = "106540352242922"
                driver = Driver(api, chance, number)
                site = Site(up, sandbox, postgres)
                watching = asyncio.create_task(driver.watch())
                load = asyncio.create_task(_strike(site, driver, faults, talk=talk))
                await load
                await site.calm()
                await eventually(lambda: _ready(api), 90)
                unsettled = await driver.settle(_SETTLE)
                watching.cancel()
                with suppress(asyncio.CancelledError):
                    await watching
                return await _check(site, driver, receiver, unsettled)


async def _strike(site: Site, driver: Driver, faults: list[str], *, talk: bool) -> None:
    stop = asyncio.Event()

    async def post() -> None:
        while not stop.is_set():
            await driver.run(5)

    posting = asyncio.create_task(post())
    await asyncio.sleep(_GAP)
    for name in faults:
        if talk:
            print(f"  {time.strftime('%H:%M:%S')} {name}", flush=True)
        await (ON_POSTGRES if site.postgres else FAULTS)[name](site)
        await asyncio.sleep(_GAP)
    stop.set()
    await posting


async def _subscribe(api: Any, receiver: Receiver) -> None:
    endpoint = {
        "tenant_id": "default",
        "url": receiver.url("/chaos"),
        "events": ["message.*"],
        "retry_schedule": [1, 2, 4, 8],
        "max_retries": 20,
        "rate_limit_per_second": 200,
    }
    response = await api.post("/api/v1/webhooks/configure", json=endpoint)
    assert response.status_code == 201, response.text


async def _ready(api: Any) -> bool:
    try:
        return bool((await api.get("/health/ready")).status_code == 200)
    except OSError:
        return False
    except Exception as error:
        if type(error).__module__.startswith("httpx"):
            return False
        raise


async def _check(
    site: Site, driver: Driver, receiver: Receiver, unsettled: dict[str, str]
) -> Report:
    report = Report(accepted=len(driver.accepted))
    ends = {
        message_id: (driver.seen.get(message_id) or ["never seen"])[-1]
        for message_id in driver.accepted
    }
    report.statuses = dict(Counter(ends.values()))
    if driver.refused:
        report.notes.append(
            f"{driver.refused} messages were never taken, and the client was told so"
        )
    if unsettled:
        report.broken.append(f"not ended: {dict(list(unsettled.items())[:5])} ({len(unsettled)})")
    if back := driver.went_back():
        report.broken.append(f"a status went backwards: {dict(list(back.items())[:5])}")
    await _check_sandbox(site, driver, ends, report)
    await _check_events(driver, receiver, ends, report)
    await _check_running(site, report)
    return report


async def _check_sandbox(site: Site, driver: Driver, ends: dict[str, str], report: Report) -> None:
    listed = (await site.sandbox.get("/sandbox/messages")).json()
    times = Counter(m["biz_opaque_callback_data"] for m in listed)
    if twice := {key: count for key, count in times.items() if count > 1}:
        report.broken.append(f"sent twice: {dict(list(twice.items())[:5])}")
    sent = [m for m, status in ends.items() if status in ("sent", "delivered", "read")]
    if never := [m for m in sent if m not in times]:
        report.broken.append(f"called sent, but Meta has not got: {never[:5]}")
    cancelled = [m for m in driver.cancelled if m in times]
    if cancelled:
        report.broken.append(f"cancelled, but sent: {cancelled[:5]}")
    lost = [m for m, status in ends.items() if status == "failed" and m in times]
    if lost:
        report.broken.append(f"called failed, but Meta has got: {lost[:5]}")
    stats = (await site.sandbox.get("/sandbox/stats")).json()
    peak = max(stats["peak_per_second"].values(), default=0)
    report.notes.append(f"most in any second: {peak} (rate {RATE:g})")
    if peak > RATE:
        report.broken.append(f"the rate was broken: {peak} in a second, {RATE:g} allowed")
    for code in ("130429", "131056"):
        if stats["rejected"].get(code):
            report.broken.append(f"Meta answered {code} {stats['rejected'][code]} times")


async def _check_events(
    driver: Driver, receiver: Receiver, ends: dict[str, str], report: Report
) -> None:
    wanted = {
        "sent": {"queued", "sent"},
        "delivered": {"queued", "sent", "delivered"},
        "read": {"queued", "sent", "read"},
        "failed": {"queued", "failed"},
        "cancelled": {"queued", "cancelled"},
    }
    missing: dict[str, set[str]] = {}
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        got: defaultdict[str, set[str]] = defaultdict(set)
        for request in receiver.received["/chaos"]:
            event = json.loads(request.body)
            got[event["data"]["message_id"]].add(event["type"].removeprefix("message."))
        missing = {
            m: wanted[status] - got[m]
            for m, status in ends.items()
            if status in wanted and not wanted[status] <= got[m]
        }
        if not missing:
            break
        await asyncio.sleep(1)
    report.notes.append(f"{len(receiver.received['/chaos'])} events received")
    if missing:
        report.broken.append(f"events missing: {dict(list(missing.items())[:5])} ({len(missing)})")


async def _check_running(site: Site, report: Report) -> None:
    client = await Client.connect(f"127.0.0.1:{site.up.temporal_port}")
    kinds = " OR ".join(f"WorkflowType = '{name}'" for name in _WORKFLOWS)
    running = -1
    deadline = time.monotonic() + 60
    while running != 0 and time.monotonic() < deadline:
        with suppress(RPCError):
            found = await client.count_workflows(f"ExecutionStatus = 'Running' AND ({kinds})")
            running = found.count
        await asyncio.sleep(1)
    if running:
        report.broken.append(f"{running} workflows are left running")
