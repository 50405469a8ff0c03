"""Endpoints of one tenant that accept a request and never answer it."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from temporalio.client import WorkflowExecutionDescription

from pytake.webhooks import deliveries
from tests.hooks import configure, delivery, send, until
from tests.receiver import Receiver
from tests.stack import Stack, eventually, make_settings, running_stack

HANGING = 24
TIMEOUT = 45.0
EVENTS_UNTIL_AN_ATTEMPT = 5
"""History events of a delivery: started, one workflow task (three events), activity scheduled."""


class Silent:
    """A server that holds every request until it is released."""

    def __init__(self) -> None:
        self.open = 0
        self.most = 0
        self.release = asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        self.most = max(self.most, self.open)
        try:
            await reader.readuntil(b"\r\n\r\n")
            await self.release.wait()
            writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        finally:
            self.open -= 1
            writer.close()


@pytest.fixture(scope="module")
async def small_stack(
    own_temporal_address: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Stack]:
    """A worker with 20 slots for deliveries, at most one per endpoint."""
    settings = make_settings(
        tmp_path_factory.mktemp("small"),
        PYTAKE_WEBHOOK_CONCURRENCY=1,
        PYTAKE_WEBHOOK_MIN_BACKOFF_SECONDS=0.5,
    )
    async with running_stack(settings, own_temporal_address) as stack:
        yield stack


async def test_24_hanging_endpoints_of_one_tenant_do_not_stop_others_webhooks(
    small_stack: Stack,
) -> None:
    silent = Silent()
    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    answering = await asyncio.start_server(_answer, "127.0.0.1", 0)
    good = f"http://127.0.0.1:{answering.sockets[0].getsockname()[1]}/"
    for _ in range(HANGING):
        await configure(small_stack, "bad", url, timeout_seconds=TIMEOUT, max_retries=0)
    await configure(small_stack, "good", good)
    first = [await send(small_stack, "bad") for _ in range(2)]

    async def hangs() -> bool:
        return silent.open >= 5

    await eventually(hangs)
    started = time.monotonic()
    sent = [await send(small_stack, "good") for _ in range(5)]
    for event in sent:
        view = await until(small_stack, event["deliveries"][0], "delivered", TIMEOUT)
        assert view["attempts"] == 1
    assert time.monotonic() - started < 30, "nothing waited for a time-out"
    assert silent.most <= 10, "half of the slots are out of one tenant's reach"
    views = [await delivery(small_stack, one) for event in first for one in event["deliveries"]]
    assert all(view["attempts"] == 0 for view in views), "a wait is not an attempt"
    await _waiting_costs_no_workflow_task(small_stack, first)
    await _comes_before(small_stack, await send(small_stack, "good"), first[-1])
    silent.release.set()
    server.close()
    answering.close()


async def test_no_retry_plan_allows_attempts_without_a_pause(
    small_stack: Stack, receiver: Receiver
) -> None:
    url = receiver.script("/eager", 500, 500, 200)
    await configure(small_stack, "eager", url, retry_schedule=[0.001])
    sent = await send(small_stack, "eager")
    await until(small_stack, sent["deliveries"][0], "delivered")
    times = [received.at for received in receiver.received["/eager"]]
    assert len(times) == 3
    assert all(later - earlier >= 0.5 for earlier, later in itertools.pairwise(times))


async def _waiting_costs_no_workflow_task(stack: Stack, sent: list[dict[str, Any]]) -> None:
    """Deliveries to hanging endpoints get no slot, and their workflows are not involved."""

    async def refused() -> bool:
        return (
            sum(
                activity.last_failure.message in ("busy", "breaker_open")
                for description in await _descriptions(stack, sent)
                for activity in description.raw_description.pending_activities
            )
            >= HANGING
        )

    await eventually(refused)
    for description in await _descriptions(stack, sent):
        assert description.history_length <= EVENTS_UNTIL_AN_ATTEMPT


async def _comes_before(stack: Stack, good: dict[str, Any], bad: dict[str, Any]) -> None:
    """Tasks of an endpoint that has answered precede those of one that never has; tenants share fairly."""
    (first,), second = await _descriptions(stack, [good]), await _descriptions(stack, [bad])
    ahead, behind = (
        one.raw_description.workflow_execution_info.priority for one in (first, second[0])
    )
    assert ahead.priority_key < behind.priority_key
    assert ahead.fairness_key != behind.fairness_key
    keys = {one.raw_description.workflow_execution_info.priority.fairness_key for one in second}
    assert len(keys) == 1, "more endpoints do not give a tenant a larger share"


async def _descriptions(
    stack: Stack, sent: list[dict[str, Any]]
) -> list[WorkflowExecutionDescription]:
    """The descriptions of the deliveries' workflows."""
    ids = [one for event in sent for one in event["deliveries"]]
    rows = [
        (await stack.database.read(deliveries.find, delivery_id))[0].workflow_id
        for delivery_id in ids
    ]
    return [await stack.client.get_workflow_handle(row).describe() for row in rows]


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
    writer.close()
