"""Sending: throughput and latency beside a bare workflow, priorities, rate and fairness."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from uuid import uuid4

from tests.bench.bare import QUEUE, BareWorkflow
from tests.bench.measure import Figure, percentile
from tests.bench.plain import PlainClient
from tests.bench.site import Site
from tests.stack import EXAMPLE, fresh_recipient

_MESSAGES, _ROUNDS = 300, 3
_STEADY_RATE, _STEADY_SECONDS = 10, 20
_BACKLOG, _RATE, _CRITICAL, _RATED = 2000, 20.0, 20, 600
_SLOW, _OTHER = "900001", "900002"


async def throughput(site: Site) -> AsyncIterator[Figure]:
    """HTTP to acceptance with the outcome recorded, and the baseline, by turns."""
    await site.until_recorded(await site.queue(50))  # warm both up
    await _bare(site, 50)
    ours, bare = [], []
    for _ in range(_ROUNDS):
        bare.append(_MESSAGES / await _bare(site, _MESSAGES))
        started = time.perf_counter()
        await site.until_recorded(await site.queue(_MESSAGES))
        ours.append(_MESSAGES / (time.perf_counter() - started))
    ratios = tuple(a / b for a, b in zip(ours, bare, strict=True))
    note = f"{_MESSAGES} at once, queued by batches of 100"
    yield Figure("messages: accepted and recorded", "1/s", tuple(ours), note)
    yield Figure("baseline: bare workflows", "1/s", tuple(bare), note)
    yield Figure("messages: ratio to the baseline", "x", ratios, "goal 0.85")


async def _bare(site: Site, count: int) -> float:
    slots = asyncio.Semaphore(32)

    async def one() -> None:
        async with slots:
            handle = await site.temporal.start_workflow(
                BareWorkflow.run, "x", id=f"bare-{uuid4().hex}", task_queue=QUEUE
            )
        await handle.result()

    started = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(count)))
    return time.perf_counter() - started


async def latency(site: Site) -> AsyncIterator[Figure]:
    """``POST /queue/send`` at a steady rate against a bare ``start_workflow``."""

    client = PlainClient(site.api.base_url.host, site.api.base_url.port or 80)

    async def send() -> None:
        body = {**EXAMPLE, "to": fresh_recipient()}
        assert await client.post("/api/v1/queue/send", body) == 202

    async def start() -> None:
        await site.temporal.start_workflow(
            BareWorkflow.run, "x", id=f"bare-{uuid4().hex}", task_queue=QUEUE
        )

    await asyncio.gather(_steady(send, seconds=2), _steady(start, seconds=2))
    found: dict[str, list[float]] = {name: [] for name in ("p50", "p99", "bare p50", "bare p99")}
    for _ in range(_ROUNDS):
        # Alternating, 50 ms apart, so that other load affects both alike.
        both = await asyncio.gather(_steady(start), _steady(send, offset=0.5 / _STEADY_RATE))
        for prefix, times in zip(("bare ", ""), both, strict=True):
            found[f"{prefix}p50"].append(percentile(times, 0.5) * 1000)
            found[f"{prefix}p99"].append(percentile(times, 0.99) * 1000)
    note = f"{_STEADY_RATE}/s"
    for share in ("p50", "p99"):
        ratios = tuple(a / b for a, b in zip(found[share], found[f"bare {share}"], strict=True))
        yield Figure(f"POST /queue/send: {share}", "ms", tuple(found[share]), note)
        yield Figure(f"baseline: start_workflow {share}", "ms", tuple(found[f"bare {share}"]), note)
        yield Figure(f"POST /queue/send: {share} ratio", "x", ratios, "goal 1.5")
    client.close()


async def _steady(
    call: Callable[[], Awaitable[None]], seconds: float = _STEADY_SECONDS, offset: float = 0.0
) -> list[float]:
    """Seconds of each call, started at a steady rate."""
    times: list[float] = []

    async def one() -> None:
        started = time.perf_counter()
        await call()
        times.append(time.perf_counter() - started)

    tasks = []
    beginning = time.perf_counter() + offset
    for index in range(int(seconds * _STEADY_RATE)):
        await asyncio.sleep(max(0.0, beginning + index / _STEADY_RATE - time.perf_counter()))
        tasks.append(asyncio.create_task(one()))
    await asyncio.gather(*tasks)
    return times


async def backlog(site: Site) -> AsyncIterator[Figure]:
    """One number with a backlog of Low messages: how long Critical ones and another number's wait."""
    site.number(_SLOW, _RATE)
    site.number(_OTHER, 80)
    await site.queue(_BACKLOG, phone_number_id=_SLOW, priority="Low")
    critical, other = [], []
    for _ in range(_ROUNDS):
        critical.append(await _waits(site, _CRITICAL, _SLOW, "Critical"))
        other.append(await _waits(site, _CRITICAL, _OTHER, "Normal"))
    note = f"{_BACKLOG} Low queued at {_RATE:g}/s"
    yield Figure(
        "Critical behind the backlog: p99",
        "s",
        tuple(percentile(w, 0.99) for w in critical),
        f"{note}; goal 2",
    )
    yield Figure(
        "another number: p99", "s", tuple(percentile(w, 0.99) for w in other), f"{note}; goal 1"
    )


async def rate(site: Site) -> AsyncIterator[Figure]:
    """How much of a number's rate a backlog of 600 messages uses, and that it is never exceeded; a new number
    each round. While they are being queued, the starts of 600 workflows take most of the CPU.
    """
    rejected = Counter((await site.sandbox.get("/sandbox/stats")).json()["rejected"])
    used, peaks = [], []
    for index in range(_ROUNDS):
        number = f"90001{index}"
        site.number(number, _RATE)
        await site.queue(_RATED, requests=1, phone_number_id=number)
        queued_at = time.time()
        while len(times := await _times(site, number)) < _RATED:
            await asyncio.sleep(1)
        backlog = [at for at in times if at > queued_at]
        used.append((len(backlog) - 1) / (backlog[-1] - backlog[0]) / _RATE * 100)
        peaks.append(_peak([at for at in times if at > times[0] + 1]))
    yield Figure(
        "rate used",
        "%",
        tuple(used),
        f"{_RATED} messages at {_RATE:g}/s, once all are queued; goal 95",
    )
    yield Figure("most in any second", "1/s", tuple(peaks), f"goal at most {_RATE:g}")
    after = Counter((await site.sandbox.get("/sandbox/stats")).json()["rejected"])
    after.subtract(rejected)
    yield Figure("130429 answers", "", (float(after["130429"]),), "goal 0")


async def _times(site: Site, number: str) -> list[float]:
    return sorted(at for of, at in (await site.accepted()).values() if of == number)


async def _waits(site: Site, count: int, number: str, priority: str) -> list[float]:
    """Seconds from each POST to the acceptance."""
    posted: dict[str, float] = {}

    async def one() -> None:
        body = {**EXAMPLE, "to": fresh_recipient(), "priority": priority, "phone_number_id": number}
        at = time.time()
        response = await site.api.post("/api/v1/queue/send", json=body)
        posted[response.json()["message_id"]] = at

    await asyncio.gather(*(one() for _ in range(count)))
    while True:
        accepted = await site.accepted()
        if posted.keys() <= accepted.keys():
            return [accepted[message_id][1] - at for message_id, at in posted.items()]
        await asyncio.sleep(0.2)


def _peak(times: list[float]) -> float:
    """The highest number of times within any second."""
    most, start = 0, 0
    for end, at in enumerate(times):
        while times[start] <= at - 1:
            start += 1
        most = max(most, end - start + 1)
    return float(most)
