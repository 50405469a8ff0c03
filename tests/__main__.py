"""Runs the tests: ``python -m tests [pytest arguments]``.

Without arguments, the tests run in parts side by side, of about the same length, for most of their
time is waiting. ``python -m tests -k "processes"`` runs one of them. Each run leaves with ``os._exit``:
the Temporal client's native threads can abort an ordinary exit (temporalio/sdk-python#300).
"""

import os
import subprocess
import sys

import pytest

from tests.parts import PARTS, files_of


def main() -> int:
    """The exit code of the run."""
    if len(sys.argv) > 1:
        return int(pytest.main(sys.argv[1:]))
    *beside, here = PARTS
    parts = {
        part: subprocess.Popen(
            [sys.executable, "-m", "tests", *files_of(part), "-k", part, "-p", "no:cacheprovider"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for part in beside
    }
    code = int(pytest.main(["-k", here]))
    for name, part in parts.items():
        output, _ = part.communicate()
        print(f"\n{name.replace('_', ' ')}:\n{output}", flush=True)
        code = code or part.returncode
    return code


result = main()
sys.stdout.flush()
sys.stderr.flush()
os._exit(result)
