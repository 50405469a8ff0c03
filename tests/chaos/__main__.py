"""``make chaos``: a steady load, faults in an order that the seed decides, then the promises checked.

``python -m tests.chaos [--seed N] [--faults 12] [--only "kill -9 worker"]``. Ends with 1 if a promise
was broken; the run can be repeated with the seed it prints.
"""

import argparse
import asyncio
import os
import random
import shutil
import sys
import tempfile
from pathlib import Path

from tests.chaos.faults import FAULTS
from tests.chaos.run import Report, run


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--faults", type=int, default=len(FAULTS), help="how many faults strike")
    parser.add_argument("--only", action="append", choices=list(FAULTS), help="only these")
    parser.add_argument("--keep", action="store_true", help="keep the data directory")
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)  # noqa: S311 - to be repeated
    names = arguments.only or chance.sample(list(FAULTS), min(arguments.faults, len(FAULTS)))
    print(f"seed {arguments.seed}: {len(names)} faults", flush=True)
    directory = Path(tempfile.mkdtemp(prefix="pytake-chaos-"))
    report: Report = asyncio.run(run(directory, chance, names, talk=True))
    if arguments.keep:
        print(f"kept: {directory}")
    else:
        shutil.rmtree(directory, ignore_errors=True)
    print(report.text(), flush=True)
    sys.stdout.flush()
    os._exit(1 if report.broken else 0)


if __name__ == "__main__":
    main()
