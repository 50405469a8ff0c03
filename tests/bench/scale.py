"""Scale: more worker processes on one machine, and many messages scheduled at once."""

import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta

from pytake.clock import now
from tests.bench.measure import Figure, percentile
from tests.bench.site import Site

_MESSAGES, _ROUNDS, _WORKERS = 300, 3, (1, 2, 4)
_RUSH = int(os.environ.get("BENCH_RUSH", "10000"))
_DUE = 30


async def workers(site: Site) -> AsyncIterator[Figure]:
    """Throughput with one, two and four workers."""
    await site.until_recorded(await site.queue(50))
    with ExitStack() as stack:
        running = 1
        for count in _WORKERS:
            for _ in range(count - running):
                stack.enter_context(_worker(site))
            running = count
            await site.until_recorded(await site.queue(100))  # all of them are there, and warm
            rates = []
            for _ in range(_ROUNDS):
                started = time.perf_counter()
                await site.until_recorded(await site.queue(_MESSAGES))
                rates.append(_MESSAGES / (time.perf_counter() - started))
            yield Figure(f"messages: {count} workers", "1/s", tuple(rates), f"{_MESSAGES} at once")


async def rush(site: Site) -> AsyncIterator[Figure]:
    """Many messages scheduled at once, days ahead: how late other messages due during and after the rush are,
    compared with a quiet minute, and how long an unscheduled message takes.
    """
    await site.until_recorded(await site.queue(20))
    quiet = await _late(site, await _due(site))
    before = await _due(site)
    started = time.perf_counter()
    await site.queue(_RUSH, scheduled_for=(now() + timedelta(days=2)).isoformat())
    accepted_in = time.perf_counter() - started
    after = await _due(site)
    posted = time.time()
    ids = await site.queue(_DUE)
    late = {"while": await _late(site, before), "after": await _late(site, after)}
    await site.until_recorded(ids, seconds=400)
    accepted = await site.accepted()
    waits = [accepted[message_id][1] - posted for message_id in ids]
    yield Figure("the rush: accepted", "1/s", (_RUSH / accepted_in,), "4 batches at a time")
    for share in (0.5, 0.99):
        name = f"due within a minute: late by, p{share * 100:.0f}"
        yield Figure(name, "s", (percentile(quiet, share),), "nothing else to do")
        for when, found in late.items():
            note = f"{when} {_RUSH:,} are scheduled for two days ahead"
            yield Figure(name, "s", (percentile(found, share),), note)
    yield Figure("sent at once, POST to acceptance: p99", "s", (percentile(waits, 0.99),), "after")


async def _due(site: Site) -> dict[str, float]:
    """Messages that are due within the next minute, and when."""
    due: dict[str, float] = {}
    for index in range(_DUE):
        at = now() + timedelta(seconds=5 + 55 * index / _DUE)
        (message_id,) = await site.queue(1, scheduled_for=at.isoformat())
        due[message_id] = at.timestamp()
    return due


async def _late(site: Site, due: dict[str, float]) -> list[float]:
    """Seconds from each message's due time to its acceptance."""
    await site.until_recorded(list(due), seconds=400)
    accepted = await site.accepted()
    return [accepted[message_id][1] - at for message_id, at in due.items()]


@contextmanager
def _worker(site: Site) -> Iterator[None]:
    """One more worker beside that of ``pytake up``."""
    before = site.workers()
    process = subprocess.Popen(
        [sys.executable, "-m", "pytake.cli", "worker"],
        env=site.worker_environment(),
        cwd=site.up.directory,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        # The log level is WARNING: it says nothing when it is ready, its heartbeat does.
        deadline = time.monotonic() + 60
        while site.workers() <= before:
            assert time.monotonic() < deadline, "the worker does not start"
            time.sleep(0.2)
        yield
    finally:
        process.kill()
        process.wait()
