"""Runs the tests: ``python -m tests [pytest arguments]``.

Without arguments, the tests run in two halves side by side, for most of their time is waiting: those
on PostgreSQL and of ``pytake up``, and all others.
Each run leaves with ``os._exit``: the Temporal client's native threads can abort an ordinary exit
(temporalio/sdk-python#300).
"""

import os
import subprocess
import sys

import pytest

ONE_HALF = ["-k", "postgresql or test_up"]
THE_OTHER = ["-k", "not postgresql and not test_up"]


def main() -> int:
    """The exit code of the run."""
    if len(sys.argv) > 1:
        return int(pytest.main(sys.argv[1:]))
    beside = subprocess.Popen(
        [sys.executable, "-m", "tests", *ONE_HALF, "-p", "no:cacheprovider"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    code = int(pytest.main(THE_OTHER))
    output, _ = beside.communicate()
    print(f"\non PostgreSQL, and of pytake up:\n{output}", flush=True)
    return code or beside.returncode


result = main()
sys.stdout.flush()
sys.stderr.flush()
os._exit(result)
