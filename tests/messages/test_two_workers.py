"""Two workers sending from one number at once: the rate that the sandbox observes."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import cast

import httpx
import pytest
import uvicorn
from temporalio.client import Client
from temporalio.testing import ActivityEnvironment

from activities.messages.answers import SendOptions
from activities.messages.lanes import message_activities
from pytake.clock import now
from pytake.database.engine import Database
from pytake.messages.content import MessageType
from pytake.messages.contracts import SendOutcome, SendRequest
from pytake.numbers import store as numbers
from pytake.sandbox.server import build_server
from pytake.settings import Settings
from pytake.temporal.priority import Priority
from pytake.webhooks.dispatch import Dispatcher
from pytake.whatsapp.client import CloudApi, NotSentError, WithheldError
from tests.stack import fresh_number, fresh_recipient, make_settings

RATE = 20


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    """Those of a sandbox with an event loop of its own."""
    made = make_settings(tmp_path)
    server: uvicorn.Server = build_server(made, seed=1)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield made
    server.should_exit = True
    thread.join()


def _request(number: str) -> SendRequest:
    return SendRequest(
        message_id=f"msg-{fresh_recipient()}",
        tenant_id="t",
        phone_number_id=number,
        recipient=fresh_recipient(),
        message_type=MessageType.TEXT,
        content={"body": "oi"},
        priority=Priority.NORMAL,
        expires_at=now() + timedelta(hours=1),
        max_attempts=5,
    )


async def _worker(settings: Settings, number: str, seconds: float, stalls: list[float]) -> None:
    """Send for so long, eight messages at a time; ``stalls`` stop the event loop for 0.7 s each."""
    database = Database(settings.storage.sqlalchemy_url)
    policy = SendOptions("p", call_timeout=3, receipt_wait=1, redrive_wait_codes=False)
    async with CloudApi(settings.whatsapp.api_base_url, "v25.0", "t", timeout=3) as api:
        # There are no direct sends here, and nothing is recorded: neither client is called.
        activities = message_activities(
            api, database, cast(Client, None), cast(Dispatcher, None), policy, 0
        )
        end = time.monotonic() + seconds

        async def one_after_the_other() -> None:
            while time.monotonic() < end:
                result = await ActivityEnvironment().run(
                    activities.queued.send_message, _request(number)
                )
                assert result.outcome in (SendOutcome.ACCEPTED, SendOutcome.REQUEUE)
                if result.outcome is SendOutcome.REQUEUE:
                    await asyncio.sleep(0.05)

        for after in stalls:
            asyncio.get_running_loop().call_later(after, time.sleep, 0.7)
        await asyncio.gather(*(one_after_the_other() for _ in range(8)))
    database.close()


def _in_a_thread(coroutine: Callable[[], Awaitable[None]], after: float) -> threading.Thread:
    async def run() -> None:
        await coroutine()

    def start() -> None:
        time.sleep(after)
        asyncio.run(run())

    thread = threading.Thread(target=start)
    thread.start()
    return thread


async def test_the_rate_is_kept_when_a_worker_joins_and_both_stall(
    settings: Settings,
) -> None:
    database, number = Database(settings.storage.sqlalchemy_url), fresh_number()
    database.migrate()
    database.write_now(
        numbers.register, number, tenant_id="t", portfolio_id="p", rate=RATE, tier="TIER_UNLIMITED"
    )
    threads = [
        _in_a_thread(lambda: _worker(settings, number, 5, [2.6, 3.7]), 0),
        _in_a_thread(lambda: _worker(settings, number, 4.2, [2.4, 3.0]), 0.7),
    ]
    for thread in threads:
        await asyncio.to_thread(thread.join)
    async with httpx.AsyncClient(
        base_url=settings.whatsapp.api_base_url, trust_env=False
    ) as client:
        stats = (await client.get("/sandbox/stats")).json()
    database.close()
    assert stats["accepted"] > RATE * 2
    assert stats["peak_per_second"][number] <= RATE


async def test_a_call_that_lost_its_slot_while_connecting_is_not_made(settings: Settings) -> None:
    turns = [True, False, True]

    async def leaves() -> bool:
        return turns.pop(0)

    async with CloudApi(settings.whatsapp.api_base_url, "v25.0", "t", timeout=3) as api:
        body = {
            "messaging_product": "whatsapp",
            "to": fresh_recipient(),
            "type": "text",
            "text": {"body": "oi"},
        }
        await api.send("1", body, leaves)
        with pytest.raises(WithheldError):
            await api.send("1", body, leaves)
        await api.send("1", body, leaves)
    async with httpx.AsyncClient(
        base_url=settings.whatsapp.api_base_url, trust_env=False
    ) as client:
        assert (await client.get("/sandbox/stats")).json()["accepted"] == 2


async def test_a_call_that_times_out_before_it_is_written_is_known_not_to_be_sent(
    settings: Settings,
) -> None:
    async def never() -> bool:
        return await asyncio.Future()

    async with CloudApi(
        settings.whatsapp.api_base_url, "v25.0", "t", timeout=0.2, connections=1
    ) as api:
        calls = (api.send("1", {}, never) for _ in range(2))
        waited_for_its_turn, without_a_connection = await asyncio.gather(
            *calls, return_exceptions=True
        )
    assert type(waited_for_its_turn) is WithheldError
    assert type(without_a_connection) is NotSentError
