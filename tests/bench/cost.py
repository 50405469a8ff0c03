"""What one message costs, counted rather than timed: CPU of each process, SQL, history events.

Compare two versions by paired runs, one after the other on the same machine: counts of SQL and events are
exact, CPU differs by some percent.
"""

import asyncio
import os
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event

from pytake.process.logs import configure_logging
from tests.bench.measure import Figure
from tests.bench.site import Site
from tests.stack import fresh_recipient, make_settings, running_stack, temporal_server

_MESSAGES, _ROUNDS = 300, 3
_COUNTED = 50
_PARTS = ("temporal", "worker", "api", "sandbox")


async def cost(site: Site) -> AsyncIterator[Figure]:
    """CPU per message of each process, over 300 at once with their receipts; then SQL and events per message."""
    await site.until_recorded(await site.queue(50))
    rounds: dict[str, list[float]] = {part: [] for part in _PARTS}
    for _ in range(_ROUNDS):
        before = _cpu(site)
        await site.until_recorded(await site.queue(_MESSAGES))
        await asyncio.sleep(3)  # the last receipts
        after = _cpu(site)
        for part in _PARTS:
            rounds[part].append((after[part] - before[part]) / _MESSAGES * 1000)
    for part, spent in rounds.items():
        yield Figure(f"CPU a message: {part}", "ms", tuple(spent), f"{_MESSAGES} at once")
    for directly in (True, False):
        way = "sent directly" if directly else "through the queue"
        sql, events = await _counted(directly)
        for kind in ("statements", "transactions"):
            yield Figure(f"SQL {kind} a message", "", (sql[kind] / _COUNTED,), f"{way}, one by one")
        yield Figure("history events a message", "", (events / _COUNTED,), way)


def _cpu(site: Site) -> dict[str, float]:
    """Part -> seconds of CPU so far."""
    tick = os.sysconf("SC_CLK_TCK")
    found = {}
    for part, pid in site.up.children().items():
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        found[part] = (int(fields[11]) + int(fields[12])) / tick
    return found


async def _counted(directly: bool) -> tuple[Counter[str], int]:
    """SQL of the whole installation and history events, over messages sent one after the other. Callbacks are
    left out, because Meta decides how many updates a request has.
    """
    configure_logging("console", "ERROR")  # the callbacks are expected to fail
    with tempfile.TemporaryDirectory(prefix="pytake-bench-") as directory:
        path = Path(directory)
        with temporal_server(path) as address:
            settings = make_settings(
                path,
                PYTAKE_DIRECT_SENDS=50 if directly else 0,
                PYTAKE_WORKFLOW_SANDBOX=False,
                PYTAKE_SANDBOX_CALLBACK_URL="http://127.0.0.1:9/closed",
            )
            async with running_stack(settings, address) as stack:
                number = await stack.register(rate=1000)

                async def one() -> str:
                    sent = await stack.send(to=fresh_recipient(), phone_number_id=number)
                    handle = stack.client.get_workflow_handle(sent["message_id"])
                    await handle.result()
                    return handle.id

                for _ in range(5):
                    await one()
                with _counting() as sql:
                    ids = [await one() for _ in range(_COUNTED)]
                events = 0
                for message_id in ids:
                    description = await stack.client.get_workflow_handle(message_id).describe()
                    events += description.history_length
                return sql, events


@contextmanager
def _counting() -> Iterator[Counter[str]]:
    """Count SQL on every engine of this process, without background work (heartbeats, sweeps)."""
    counts: Counter[str] = Counter()
    idle = ("process_heartbeat",)

    def statement(_c: Any, _cursor: Any, text: str, *_: Any) -> None:
        if not any(name in text for name in idle):
            counts["statements"] += 1

    def begin(_connection: Any) -> None:
        counts["transactions"] += 1

    event.listen(Engine, "before_cursor_execute", statement)
    event.listen(Engine, "begin", begin)
    try:
        yield counts
    finally:
        event.remove(Engine, "before_cursor_execute", statement)
        event.remove(Engine, "begin", begin)
