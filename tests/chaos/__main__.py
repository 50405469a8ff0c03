"""``make chaos``: a steady load, faults in an order that the seed decides, then the promises checked.

``python -m tests.chaos [--seed N] [--faults 12] [--database sqlite] [--only "kill -9 worker"]``. A run on
SQLite, then one on PostgreSQL. Ends with 1 if a promise was broken; the order of the faults can be
repeated with the seed that is printed.
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
from tests.chaos.run import Report, run
from tests.postgres import postgres

KINDS = {"sqlite": list(FAULTS), "postgresql": list(ON_POSTGRES)}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--faults", type=int, help="how many faults strike a database")
    parser.add_argument("--database", action="append", choices=list(KINDS), help="only on this one")
    parser.add_argument("--only", action="append", choices=[*FAULTS, *ON_POSTGRES])
    parser.add_argument("--keep", action="store_true", help="keep the data directory")
    arguments = parser.parse_args()
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
        if arguments.keep:
            print(f"kept: {directory}")
        else:
            shutil.rmtree(directory, ignore_errors=True)
        print(report.text(), flush=True)
        broken = broken or bool(report.broken)
    sys.stdout.flush()
    os._exit(1 if broken else 0)


if __name__ == "__main__":
    main()
