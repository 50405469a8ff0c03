"""Runs the tests: ``python -m tests [pytest arguments]``.

Leaves with ``os._exit``: the Temporal client's native threads can abort an ordinary exit
(temporalio/sdk-python#300).
"""

import os
import sys

import pytest

code = pytest.main(sys.argv[1:])
sys.stdout.flush()
sys.stderr.flush()
os._exit(code)
