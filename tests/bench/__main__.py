"""``make bench``: a table on the terminal, and JSON in ``.pytake/bench.json``.

Every part starts a ``pytake up`` of its own; the baseline runs on the same Temporal server.
"""

import asyncio
import json
import logging
import os
import platform
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.bench import inbound, scale, sending
from tests.bench.cost import cost
from tests.bench.measure import Figure
from tests.bench.rules import rules
from tests.bench.site import Site, site

ON_SITE: dict[str, Callable[[Site], AsyncIterator[Figure]]] = {
    "throughput": sending.throughput,
    "latency": sending.latency,
    "cost": cost,
    "workers": scale.workers,
    "backlog": sending.backlog,
    "rate": sending.rate,
    "statuses": inbound.statuses,
    "deliveries": inbound.deliveries,
    "hanging": inbound.hanging,
    "scheduled": inbound.scheduled,
    "rush": scale.rush,
}
ALL = ("rules", *ON_SITE)
OUTPUT = Path(".pytake/bench.json")


async def measure(name: str) -> list[Figure]:
    if name == "rules":
        return list(rules())
    with tempfile.TemporaryDirectory(prefix="pytake-bench-") as directory:
        async with site(Path(directory)) as running:
            return [figure async for figure in ON_SITE[name](running)]


def show(figures: list[Figure]) -> None:
    table = Table("figure", "median", "low", "high", "unit", "note")
    for figure in figures:
        numbers = (figure.median, min(figure.rounds), max(figure.rounds))
        table.add_row(figure.name, *(f"{n:,.2f}" for n in numbers), figure.unit, figure.note)
    Console(width=150).print(table)


async def run(wanted: list[str]) -> None:
    figures: list[Figure] = []
    for name in wanted:
        started = time.monotonic()
        figures += await measure(name)
        print(f"{name}: {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    show(figures)
    OUTPUT.parent.mkdir(exist_ok=True)
    report = {
        "at": datetime.now(UTC).isoformat(),
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "figures": [figure.as_json() for figure in figures],
    }
    OUTPUT.write_text(json.dumps(report, indent=1) + "\n")


def main() -> None:
    wanted = sys.argv[1:] or list(ALL)
    if unknown := set(wanted) - set(ALL):
        sys.exit(f"no benchmark {', '.join(sorted(unknown))}: there are {', '.join(ALL)}")
    # A receiver that is told to hang is cut off at the end: no news.
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
    asyncio.run(run(wanted))
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
