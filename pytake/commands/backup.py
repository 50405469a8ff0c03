"""A backup of all state of `pytake up`, made while it runs."""

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from pytake.access.keyless import MARKER

DATABASES: Final = ("temporal.db", "pytake.db")
"""In the order they are copied: PyTake's copy may record more sent messages than Temporal's, never
fewer, so that a restore sends nothing again that is recorded as sent."""
_BESIDE: Final = ("encryption.key", MARKER)


class BackupError(Exception):
    """The backup was not made; the text says why."""


def backup(data_dir: Path, target: Path) -> list[Path]:
    """Copy the databases, the key and the API keys' marker from ``data_dir`` to a new folder ``target``.

    Each database is a consistent snapshot, made by SQLite's backup API and checked.

    Raises:
        BackupError: there is nothing to copy, the target exists, or a copy fails its check.
    """
    if missing := [name for name in DATABASES if not (data_dir / name).exists()]:
        raise BackupError(
            f"{data_dir} has no {' and no '.join(missing)}: is it the data directory?"
        )
    try:
        target.mkdir(parents=True, mode=0o700)
    except FileExistsError:
        raise BackupError(f"{target} exists already: give a new folder") from None
    copies = [_copy(data_dir / name, target / name) for name in DATABASES]
    copies += [
        Path(shutil.copy2(data_dir / name, target / name))
        for name in _BESIDE
        if (data_dir / name).exists()
    ]
    for copy in copies:
        copy.chmod(0o600)
    return copies


def _copy(source: Path, target: Path) -> Path:
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    with (
        closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True)) as original,
        closing(sqlite3.connect(target)) as copy,
    ):
        original.backup(copy)
        (verdict,) = copy.execute("PRAGMA quick_check").fetchone()
    if verdict != "ok":
        raise BackupError(f"the copy of {source} failed its integrity check: {verdict}")
    with target.open("rb") as file:
        os.fsync(file.fileno())
    return target
