"""``make chaos``: a steady load, faults in a seeded order, then a check of the promises.

``python -m tests.chaos [--seed N] [--faults 12] [--database sqlite] [--only "kill -9 worker"]``. A run on
SQLite, then one on PostgreSQL. Ends with 1 if a promise was broken; the order of the faults can be
repeated with the seed that is printed.

``--rate-only [--seeds 10] [--busy 3] [--workers N] [--calm]``: short runs that count the calls of a
backlog while workers stall, die and come. Ends with 1 if any second had more than the rate.
"""

import argparse
import asyncio
import os
import random
import shutil
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path

from tests.chaos.faults import FAULTS, ON_POSTGRES
from tests.chaos.rate import run_rate
from tests.chaos.run import RATE, Report, run
from tests.postgres import postgres

KINDS = {"sqlite": list(FAULTS), "postgresql": list(ON_POSTGRES)}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--faults", type=int, help="how many faults strike a database")
    parser.add_argument("--database", action="append", choices=list(KINDS), help="only on this one")
    parser.add_argument("--only", action="append", choices=[*FAULTS, *ON_POSTGRES])
    parser.add_argument("--keep", action="store_true", help="keep the data directory")
    parser.add_argument("--rate-only", action="store_true", help="only the rate, in short runs")
    parser.add_argument("--seeds", type=int, default=1, help="how many short runs")
    parser.add_argument("--busy", type=int, default=0, help="busy loops beside a short run")
    parser.add_argument("--workers", type=int, help="workers at first in a short run; 1 or 2")
    parser.add_argument("--calm", action="store_true", help="no faults in short runs")
    arguments = parser.parse_args()
    broken = _rate_only(arguments) if arguments.rate_only else _promises(arguments)
    sys.stdout.flush()
    os._exit(1 if broken else 0)


def _rate_only(arguments: argparse.Namespace) -> bool:
    """Whether a second had more calls than the rate."""
    broken = False
    print(f"rate {RATE:g}, {arguments.busy} busy loops", flush=True)
    for seed in range(arguments.seed, arguments.seed + arguments.seeds):
        chance = random.Random(seed)  # noqa: S311 - to be repeated
        directory = Path(tempfile.mkdtemp(prefix="pytake-rate-"))
        report = asyncio.run(
            run_rate(
                directory,
                chance,
                loops=arguments.busy,
                workers=arguments.workers,
                faults=not arguments.calm,
            )
        )
        _leave(directory, keep=arguments.keep)
        over = report.peak > RATE
        print(f"seed {seed}: {'BROKEN: ' if over else ''}{report.text()}", flush=True)
        broken = broken or over
    return broken


def _promises(arguments: argparse.Namespace) -> bool:
    """Whether any promise was broken."""
    broken = False
    for database in arguments.database or KINDS:
        chance = random.Random(arguments.seed)  # noqa: S311 - to be repeated
        known = [name for name in KINDS[database] if name in (arguments.only or KINDS[database])]
        names = chance.sample(known, min(arguments.faults or len(known), len(known)))
        if not names:
            continue
        print(f"seed {arguments.seed}, {database}: {len(names)} faults", flush=True)
        directory = Path(tempfile.mkdtemp(prefix="pytake-chaos-"))
        with postgres() if database == "postgresql" else nullcontext() as server:
            report: Report = asyncio.run(run(directory, chance, names, postgres=server, talk=True))
        _leave(directory, keep=arguments.keep)
        print(report.text(), flush=True)
        broken = broken or bool(report.broken)
    return broken


def _leave(directory: Path, *, keep: bool) -> None:
    if keep:
        print(f"kept: {directory}")
    else:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
