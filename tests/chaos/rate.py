"""The rate alone: a backlog, workers that stall, die and come, and the calls counted as they arrive."""

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from bisect import bisect_right
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from temporalio.client import Client

from tests.bench.site import Site
from tests.chaos.run import RATE
from tests.up import Up

SECONDS = 20.0
"""Of a run, from when the backlog is queued; it lasts longer."""


@dataclass
class RateReport:
    """What a run came to."""

    arrivals: list[float]
    """Unix times of the accepted messages."""
    peak: int
    """Most calls that arrived in any second, whatever their outcome."""
    queued_at: float
    """Unix time."""
    struck: list[str] = field(default_factory=list)

    @property
    def used(self) -> float:
        """The share of the rate."""
        before, until = (bisect_right(self.arrivals, self.queued_at + s) for s in (0, SECONDS))
        return (until - before) / (RATE * SECONDS)

    def text(self) -> str:
        """For the terminal."""
        struck = ", ".join(self.struck) or "no faults"
        return f"most in any second {self.peak}, {self.used:.0%} of the rate used: {struck}"


@contextmanager
def busy(loops: int) -> Iterator[None]:
    """Processes that do nothing but take the CPU."""
    command = [sys.executable, "-c", "while True: pass"]
    processes = [subprocess.Popen(command) for _ in range(loops)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


class Workers:
    """The worker of ``pytake up``, which its supervisor replaces, and others beside it."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._others: list[subprocess.Popen[bytes]] = []

    def add(self) -> None:
        up = self._site.up
        with up.log.open("ab") as log:
            self._others.append(
                subprocess.Popen(
                    [sys.executable, "-m", "pytake.cli", "worker"],
                    cwd=up.directory,
                    env=self._site.worker_environment(),
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
            )

    async def until(self, count: int) -> None:
        """Wait until so many have started."""
        while self._site.workers() < count:
            await asyncio.sleep(0.2)

    def pids(self) -> list[int]:
        main = self._site.up.children().get("worker")
        return [*([main] if main else []), *(process.pid for process in self._others)]

    def kill(self, pid: int) -> None:
        """kill -9, and start another worker in its place at once."""
        os.kill(pid, signal.SIGKILL)
        for process in [process for process in self._others if process.pid == pid]:
            process.wait()
            self._others.remove(process)
            self.add()

    def end(self) -> None:
        for process in self._others:
            process.kill()
            process.wait()


async def _stall(workers: Workers, site: Site, chance: random.Random) -> str:
    pids = workers.pids()
    pid, seconds = chance.choice(pids), chance.uniform(0.3, 2)
    os.kill(pid, signal.SIGSTOP)
    await asyncio.sleep(seconds)
    os.kill(pid, signal.SIGCONT)
    return f"one of {len(pids)} stopped for {seconds:.1f} s"


async def _kill(workers: Workers, site: Site, chance: random.Random) -> str:
    pids = workers.pids()
    workers.kill(chance.choice(pids))
    return f"one of {len(pids)} killed"


async def _one_more(workers: Workers, site: Site, chance: random.Random) -> str:
    if len(workers.pids()) > 1:
        return await _stall(workers, site, chance)
    workers.add()
    return "one more worker"


async def _slow_meta(workers: Workers, site: Site, chance: random.Random) -> str:
    fault = {"kind": "latency", "seconds": chance.uniform(0.3, 1.5), "rate": 0.5}
    await site.sandbox.post("/sandbox/faults", json=fault)
    await asyncio.sleep(2)
    await site.sandbox.delete("/sandbox/faults")
    return "Meta slow"


_FAULTS = (_stall, _stall, _kill, _one_more, _slow_meta)


@asynccontextmanager
async def _site(directory: Path) -> AsyncIterator[Site]:
    up = Up(directory)
    up.environment |= {
        "MESSAGE_TIER": "TIER_UNLIMITED",
        "WHATSAPP_MESSAGES_PER_SECOND": str(RATE),
        "PYTAKE_AUTO_RESPONDER": "false",
        "PYTAKE_SNAPSHOT_SECONDS": "0",
    }
    with up.running():
        async with up.clients() as (api, sandbox):
            yield Site(up, api, sandbox, await Client.connect(f"127.0.0.1:{up.temporal_port}"))


async def run_rate(
    directory: Path, chance: random.Random, *, loops: int, workers: int | None, faults: bool
) -> RateReport:
    """Start ``pytake up`` with one worker or two, queue a backlog, strike, and count."""
    async with _site(directory) as site:
        running = Workers(site)
        try:
            count = workers or chance.choice((1, 2))
            for _ in range(count - 1):
                running.add()
            await running.until(count)
            with busy(loops):
                await site.queue(int(RATE * (SECONDS + 10)))
                queued_at = time.time()
                end = asyncio.get_running_loop().time() + SECONDS
                struck = [f"{count} worker{'s' if count > 1 else ''}"]
                while (now := asyncio.get_running_loop().time()) < end:
                    await asyncio.sleep(min(chance.uniform(0.2, 2.5), end - now))
                    if faults and now < end - 3:
                        struck.append(await chance.choice(_FAULTS)(running, site, chance))
                await asyncio.sleep(1)
                arrivals = sorted(at for _, at in (await site.accepted()).values())
                stats = (await site.sandbox.get("/sandbox/stats")).json()
        finally:
            running.end()
    return RateReport(arrivals, max(stats["peak_per_second"].values()), queued_at, struck)
