"""Runs the tests: ``python -m tests [pytest arguments]``.

Without arguments, the tests on PostgreSQL run beside all others: most of their time is waiting.
Each run leaves with ``os._exit``: the Temporal client's native threads can abort an ordinary exit
(temporalio/sdk-python#300).
"""

import os
import subprocess
import sys

import pytest

ON_POSTGRES = ["-k", "postgresql"]
ALL_OTHERS = ["-k", "not postgresql"]


def main() -> int:
    """The exit code of the run."""
    if len(sys.argv) > 1:
        return int(pytest.main(sys.argv[1:]))
    beside = subprocess.Popen(
        [sys.executable, "-m", "tests", *ON_POSTGRES, "-p", "no:cacheprovider"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    code = int(pytest.main(ALL_OTHERS))
    output, _ = beside.communicate()
    print(f"\non PostgreSQL:\n{output}", flush=True)
    return code or beside.returncode


result = main()
sys.stdout.flush()
sys.stderr.flush()
os._exit(result)
