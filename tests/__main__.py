"""Runs the tests: ``python -m tests [pytest arguments]``.

Without arguments, the tests run in three parts side by side, for most of their time is waiting: those
on PostgreSQL; those of ``pytake up`` and the conversations (which move the clock of their process);
and all others. Each run leaves with ``os._exit``: the Temporal client's native threads can abort an
ordinary exit (temporalio/sdk-python#300).
"""

import os
import subprocess
import sys

import pytest

APART = ["tests/e2e/test_up.py", "tests/e2e/test_contract.py", "tests/conversations"]
_WITHOUT = [f"--ignore={path}" for path in APART]
BESIDE = {
    "on PostgreSQL": ["-k", "postgresql", *_WITHOUT],
    "of pytake up, and conversations": APART,
}
HERE = ["-k", "not postgresql", *_WITHOUT]


def main() -> int:
    """The exit code of the run."""
    if len(sys.argv) > 1:
        return int(pytest.main(sys.argv[1:]))
    parts = {
        name: subprocess.Popen(
            [sys.executable, "-m", "tests", *arguments, "-p", "no:cacheprovider"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for name, arguments in BESIDE.items()
    }  # fmt: skip
    code = int(pytest.main(HERE))
    for name, part in parts.items():
        output, _ = part.communicate()
        print(f"\n{name}:\n{output}", flush=True)
        code = code or part.returncode
    return code


result = main()
sys.stdout.flush()
sys.stderr.flush()
os._exit(result)
