"""More worker processes on the same machine."""

import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager

from pytake.settings import SANDBOX_TOKEN
from tests.bench.measure import Figure
from tests.bench.site import Site

_MESSAGES, _ROUNDS, _WORKERS = 300, 3, (1, 2, 4)


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


@contextmanager
def _worker(site: Site) -> Iterator[None]:
    """One more worker beside that of ``pytake up``."""
    up = site.up
    environment = {
        **up.environment,
        "PYTAKE_DATA_DIR": str(up.directory / "data"), "TEMPORAL_ADDRESS": f"127.0.0.1:{up.temporal_port}",
        "WHATSAPP_API_BASE_URL": f"http://127.0.0.1:{up.sandbox_port}", "WHATSAPP_ACCESS_TOKEN": SANDBOX_TOKEN,
        "PYTAKE_SANDBOX": "true", "PYTAKE_METRICS_PORT": "0",
    }  # fmt: skip
    before = site.workers()
    process = subprocess.Popen(
        [sys.executable, "-m", "pytake.cli", "worker"], env=environment, cwd=up.directory,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
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
