"""Runs the tests: ``python -m tests [pytest arguments]``.

Without arguments, the tests run in three parts side by side, of about the same length, for much of their
time is waiting: those on PostgreSQL, and unit tests; those of ``pytake up`` and of stacks of their own,
and the conversations (which move the clock of their process); and all others. Each run leaves with
``os._exit``: the Temporal client's native threads can abort an ordinary exit
(temporalio/sdk-python#300).
"""

import os
import subprocess
import sys

import pytest

APART = [
    "tests/e2e/test_up.py",
    "tests/e2e/test_contract.py",
    "tests/e2e/test_backup.py",
    "tests/e2e/test_deploy.py",
    "tests/e2e/test_ended_workflows.py",
    "tests/e2e/test_redrive_policy.py",
    "tests/security/test_hanging.py",
    "tests/conversations",
]
_WITHOUT = [f"--ignore={path}" for path in APART]
BESIDE = {
    "on PostgreSQL, and units": ["-k", "postgresql or unit", *_WITHOUT],
    "of pytake up and stacks of their own, and conversations": APART,
}
HERE = ["-k", "not (postgresql or unit)", *_WITHOUT]


def main() -> int:
    """The exit code of the run."""
    if len(sys.argv) > 1:
        return int(pytest.main(sys.argv[1:]))
    parts = {
        name: subprocess.Popen(
            [sys.executable, "-m", "tests", *arguments, "-p", "no:cacheprovider"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for name, arguments in BESIDE.items()
    }
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
