"""Status callbacks, scheduled messages and webhook deliveries."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from pytake.clock import now
from tests.bench.measure import Figure, percentile
from tests.bench.site import Site
from tests.receiver import Receiver, receiving

_ROUNDS = 3
_CALLBACKS = {1: 100, 100: 20, 1000: 5}
_SCHEDULED, _FIRING = 10_000, 60
_EVENTS = 200
_HEALTHY = 4
_BAD_TENANTS, _BAD_EVENTS = 10, 5
_BAD_ENDPOINTS = int(os.environ.get("BENCH_HANGING", "100")) // _BAD_TENANTS


async def statuses(site: Site) -> AsyncIterator[Figure]:
    """Time to acknowledge Meta's requests, by updates per request."""
    ids = await site.queue(100)
    await site.until_recorded(ids)
    for size, requests in _CALLBACKS.items():
        p50, p99, rate = [], [], []
        for _ in range(_ROUNDS):
            times = [await site.callback(_updates(size)) for _ in range(requests)]
            p50.append(percentile(times, 0.5) * 1000)
            p99.append(percentile(times, 0.99) * 1000)
            rate.append(size * requests / sum(times))
        note = f"{requests} requests a round, one after the other"
        yield Figure(f"callback of {size}: p50", "ms", tuple(p50), f"{note}; goal 250")
        yield Figure(f"callback of {size}: p99", "ms", tuple(p99), f"{note}; goal 1000")
        yield Figure(f"callback of {size}: updates", "1/s", tuple(rate), note)


def _updates(count: int) -> list[dict[str, Any]]:
    at = str(int(time.time()))
    return [
        {
            "id": f"wamid.bench{uuid4().hex}",
            "status": "delivered",
            "timestamp": at,
            "recipient_id": "5561994013828",
        }
        for _ in range(count)
    ]


async def scheduled(site: Site) -> AsyncIterator[Figure]:
    """Many scheduled messages: the worker's memory, and how late messages are sent."""
    before, rates, memory = [], [], []
    far = (now() + timedelta(days=2)).isoformat()
    for _ in range(_ROUNDS):
        await site.until_recorded(await site.queue(20))
        before.append(site.memory("worker"))
    for _ in range(_ROUNDS):
        started = time.perf_counter()
        await site.queue(_SCHEDULED // _ROUNDS, scheduled_for=far)
        rates.append(_SCHEDULED // _ROUNDS / (time.perf_counter() - started))
    note = f"{_SCHEDULED} in all, two days ahead"
    yield Figure(
        "scheduled messages: accepted", "1/s", tuple(rates), f"{note}; 4 batches at a time"
    )
    drifts = []
    for _ in range(_ROUNDS):
        memory.append(site.memory("worker"))
        due: dict[str, datetime] = {}
        for index in range(_FIRING):
            at = now() + timedelta(seconds=5 + index / 20)
            (message_id,) = await site.queue(1, scheduled_for=at.isoformat())
            due[message_id] = at
        await site.until_recorded(list(due))
        accepted = await site.accepted()
        late = [accepted[message_id][1] - at.timestamp() for message_id, at in due.items()]
        drifts.append(percentile(late, 0.99))
    yield Figure("worker's memory before", "MB", tuple(before), "")
    yield Figure("worker's memory with them", "MB", tuple(memory), note)
    yield Figure("scheduled messages: late by, p99", "s", tuple(drifts), f"{_FIRING} a round")


async def deliveries(site: Site) -> AsyncIterator[Figure]:
    """Events to tenants' endpoints: throughput, and latency beside an endpoint that hangs."""
    async with receiving() as receiver:
        tenant = f"bench-{uuid4().hex[:8]}"
        await _endpoint(site, receiver, tenant, "/fast", 1000)
        rates = []
        for _ in range(_ROUNDS):
            have = len(receiver.received["/fast"])
            started = time.perf_counter()
            await asyncio.gather(*(_send(site, tenant) for _ in range(_EVENTS)))
            while len(receiver.received["/fast"]) < have + _EVENTS:
                await asyncio.sleep(0.01)
            rates.append(_EVENTS / (time.perf_counter() - started))
        yield Figure("webhook deliveries", "1/s", tuple(rates), f"{_EVENTS} events at once")
        tenant = f"bench-{uuid4().hex[:8]}"
        paths = [f"/healthy{index}" for index in range(_HEALTHY)]
        for path in paths:
            await _endpoint(site, receiver, tenant, path, 100)
        receiver.script("/hangs", "hang")
        await _endpoint(site, receiver, tenant, "/hangs", 100)
        worst = [
            percentile(await _paced(site, receiver, tenant, paths), 0.99) * 1000
            for _ in range(_ROUNDS)
        ]
        yield Figure(
            "healthy endpoints while one of five hangs: p99",
            "ms",
            tuple(worst),
            "30 events a round, 3/s",
        )


async def hanging(site: Site) -> AsyncIterator[Figure]:
    """Events to a tenant's endpoints beside 100 of other tenants that never answer; ``BENCH_HANGING`` for
    another number.
    """
    async with receiving() as receiver:
        good = f"bench-{uuid4().hex[:8]}"
        paths = [f"/good{index}" for index in range(_HEALTHY)]
        for path in paths:
            await _endpoint(site, receiver, good, path, 100)
        alone = [
            percentile(await _paced(site, receiver, good, paths), 0.99) * 1000
            for _ in range(_ROUNDS)
        ]
        bad = [f"bench-bad{index}-{uuid4().hex[:6]}" for index in range(_BAD_TENANTS)]
        silent = []
        for tenant in bad:
            for index in range(_BAD_ENDPOINTS):
                path = f"/{tenant}/{index}"
                receiver.script(path, "hang")
                silent.append(path)
                await _endpoint(site, receiver, tenant, path, 20, patience=60)
        for tenant in bad:
            for _ in range(_BAD_EVENTS):
                await _send(site, tenant)
        async with asyncio.timeout(120):
            while any(not receiver.received[path] for path in silent):
                await asyncio.sleep(0.1)
        await asyncio.sleep(30)  # this machine needs 15 s for 500 deliveries
        beside = [
            percentile(await _paced(site, receiver, good, paths), 0.99) * 1000
            for _ in range(_ROUNDS)
        ]
        waiting = _BAD_TENANTS * _BAD_ENDPOINTS * _BAD_EVENTS
        yield Figure(
            "healthy endpoints alone: p99",
            "ms",
            tuple(alone),
            "30 events a round, 3/s, to each of 4",
        )
        yield Figure(
            f"healthy endpoints beside {len(silent)} of others that hang: p99",
            "ms",
            tuple(beside),
            f"the same, and {waiting} events for the others; goal 1000",
        )


async def _paced(site: Site, receiver: Receiver, tenant: str, paths: list[str]) -> list[float]:
    """Seconds from each event to its arrival at each healthy endpoint."""
    have = {path: len(receiver.received[path]) for path in paths}
    sent: list[float] = []
    for _ in range(30):
        sent.append(time.time())
        await _send(site, tenant)
        await asyncio.sleep(max(0.0, sent[-1] + 1 / 3 - time.time()))
    deadline = time.monotonic() + 60
    while any(len(receiver.received[p]) < have[p] + len(sent) for p in paths):
        assert time.monotonic() < deadline, "healthy endpoints wait for the hanging one"
        await asyncio.sleep(0.05)
    return [
        arrived.at - at
        for path in paths
        for arrived, at in zip(receiver.received[path][have[path] :], sent, strict=False)
    ]


async def _endpoint(
    site: Site, receiver: Receiver, tenant: str, path: str, rate: int, patience: float = 5
) -> None:
    body = {
        "tenant_id": tenant,
        "url": receiver.url(path),
        "events": ["*"],
        "rate_limit_per_second": rate,
        "timeout_seconds": patience,
    }
    response = await site.api.post("/api/v1/webhooks/configure", json=body)
    assert response.status_code == 201, response.text


async def _send(site: Site, tenant: str) -> None:
    body = {"tenant_id": tenant, "event_type": "order.paid", "payload": {"id": 1}}
    response = await site.api.post("/api/v1/webhooks/send", json=body)
    assert response.status_code == 202, response.text
