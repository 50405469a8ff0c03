"""``make bench``: a table on the terminal, and JSON in ``.pytake/bench.json``."""

import json
import platform
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.bench.measure import Figure
from tests.bench.rules import rules

BENCHMARKS: dict[str, Callable[[], Iterator[Figure]]] = {"rules": rules}
OUTPUT = Path(".pytake/bench.json")


def main() -> None:
    wanted = sys.argv[1:] or list(BENCHMARKS)
    if unknown := set(wanted) - set(BENCHMARKS):
        sys.exit(f"no benchmark {', '.join(sorted(unknown))}: there are {', '.join(BENCHMARKS)}")
    figures = [figure for name in wanted for figure in BENCHMARKS[name]()]
    table = Table("figure", "median", "low", "high", "unit", "note")
    for figure in figures:
        numbers = (figure.median, min(figure.rounds), max(figure.rounds))
        table.add_row(figure.name, *(f"{n:,.1f}" for n in numbers), figure.unit, figure.note)
    Console(width=140).print(table)
    OUTPUT.parent.mkdir(exist_ok=True)
    report = {
        "at": datetime.now(UTC).isoformat(),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "figures": [figure.as_json() for figure in figures],
    }
    OUTPUT.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
