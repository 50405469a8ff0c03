"""The parts that run side by side (``tests.__main__``): each test belongs to one."""

from pathlib import Path
from typing import Final

import pytest

RUNNING: Final = {"database_url", "temporal_address", "own_temporal_address", "postgres_url"}
"""Fixtures that start something."""
PARTS: Final = ("of_processes", "of_stacks_and_units", "on_postgresql", "on_sqlite")
"""Keywords for ``-k``."""
_PROCESSES: Final = {
    "e2e/test_up.py",
    "e2e/test_contract.py",
    "e2e/test_backup.py",
    "e2e/test_deploy.py",
}
_OWN_STACKS: Final = {
    "access/test_keys.py",
    "e2e/test_auto_responder.py",
    "e2e/test_encryption.py",
    "e2e/test_ended_workflows.py",
    "e2e/test_observability.py",
    "e2e/test_redrive_policy.py",
    "security/test_hanging_endpoints.py",
}


def part_of(item: pytest.Item) -> str:
    """``pytake up`` and chaos; stacks of their own, units and conversations (which move the clock of
    their process); and what is left, on either database.
    """
    path = item.path.relative_to(Path(__file__).parent)
    if path.as_posix() in _PROCESSES:
        return "of_processes"
    if path.as_posix() in _OWN_STACKS or path.parts[0] == "conversations" or is_unit(item):
        return "of_stacks_and_units"
    return "on_postgresql" if database_of(item) == "postgresql" else "on_sqlite"


def files_of(part: str) -> list[str]:
    """The files that a part is in, where they are few: nothing else has to be collected then."""
    return sorted(f"tests/{path}" for path in _PROCESSES) if part == "of_processes" else []


def is_unit(item: pytest.Item) -> bool:
    """Whether it needs no running part."""
    return isinstance(item, pytest.Function) and not RUNNING & set(item.fixturenames)


def database_of(item: pytest.Item) -> str | None:
    """``sqlite`` or ``postgresql``, for tests of a database."""
    callspec = getattr(item, "callspec", None)
    kind: str | None = callspec.params.get("database_url") if callspec else None
    return kind
