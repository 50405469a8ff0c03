"""The data directory: private to its owner, and used by one ``pytake up`` at a time.

It holds messages, contacts and keys. ``pytake.cli`` and the entry points of the API and the worker set a
umask of 077, which the Temporal server inherits; looser modes, left by an earlier version or by hand,
are tightened.
"""

import asyncio
import fcntl
import json
import os
import stat
import time
from pathlib import Path
from typing import Final

from sqlalchemy.engine import make_url

from pytake.settings import ConfigurationError, StorageSettings

_OTHERS: Final = 0o077
_STATE: Final = (
    "pytake.db",
    "temporal.db",
    "encryption.key",
    "sandbox.jsonl",
    "up.lock",
    "keys-exist",
)
_LOCK: Final = "up.lock"
_STOPPING_SECONDS: Final = 30.0
"""How long ``up`` waits for the Temporal server of an earlier ``up`` that was killed."""


class AlreadyRunningError(Exception):
    """Another ``pytake up`` uses the directory; the text says which."""


def secure(settings: StorageSettings) -> list[str]:
    """Make the process create private files, and restrict the modes of existing ones.

    Returns sentences about what could not be restricted.

    Raises:
        ConfigurationError: anybody can change the data directory.
    """
    os.umask(_OTHERS)
    warnings = tighten(settings.data_dir) if settings.data_dir.exists() else []
    url = make_url(settings.sqlalchemy_url)
    if url.get_backend_name() == "sqlite" and url.database:
        _tighten_files(Path(url.database))
    return warnings


def tighten(directory: Path) -> list[str]:
    """Give a data directory mode 0700 and PyTake's files in it 0600.

    A directory of another user, or one that is shared by nature (``/tmp``, ``/var``, a home), keeps its
    mode; the returned sentences say so. PyTake's own files in it are restricted anyway.

    Raises:
        ConfigurationError: it is not a directory, or anybody could replace the files in it.
    """
    path = directory.resolve()
    found = path.stat()
    if not stat.S_ISDIR(found.st_mode):
        raise ConfigurationError(f"PYTAKE_DATA_DIR: {path} is not a folder")
    warnings = []
    sticky = bool(found.st_mode & stat.S_ISVTX)
    if found.st_uid != os.geteuid():
        if found.st_mode & stat.S_IWOTH and not sticky:
            raise ConfigurationError(
                f"PYTAKE_DATA_DIR: {path} belongs to user {found.st_uid} and anybody may write to it: use "
                "a folder of your own"
            )
        warnings.append(
            f"the data directory {path} belongs to user {found.st_uid}, but PyTake runs as user "
            f"{os.geteuid()}: its mode is left unchanged"
        )
    elif found.st_mode & _OTHERS:
        if sticky or _shared(path):
            warnings.append(
                f"the data directory {path} is used by others too: its mode is left unchanged; give "
                "PyTake a folder of its own"
            )
        else:
            path.chmod(stat.S_IMODE(found.st_mode) & ~_OTHERS)
    for name in _STATE:
        _tighten_files(path / name)
    return warnings


def _shared(path: Path) -> bool:
    """Whether it is near the root, or a home directory or above one, and so must not be restricted."""
    home = Path.home().resolve()
    return len(path.parts) <= 2 or path == home or path in home.parents


def _tighten_files(path: Path) -> None:
    """Restrict a file and SQLite's files beside it; skip other users' files and links."""
    for name in (path, *(path.with_name(path.name + end) for end in ("-wal", "-shm", "-journal"))):
        try:
            found = name.lstat()
        except OSError:
            continue
        loose = found.st_mode & _OTHERS
        if stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and loose:
            name.chmod(stat.S_IMODE(found.st_mode) & ~_OTHERS)


class UpLock:
    """A lock on the data directory, held by ``pytake up`` and by its Temporal server, which inherits the
    descriptor: the directory is free once both are gone, however they ended.
    """

    def __init__(self, directory: Path) -> None:
        self.descriptor = os.open(
            directory / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
        )

    async def acquire(self, address: str, wait_seconds: float = _STOPPING_SECONDS) -> None:
        """Take the lock, and record who has it.

        Raises:
            AlreadyRunningError: another ``up`` runs, or its server did not stop in ``wait_seconds`` seconds.
        """
        deadline = time.monotonic() + wait_seconds
        while not self._try_lock():
            holder = self._holder()
            if holder is not None and _alive(holder[0]):
                raise AlreadyRunningError(f"already running as pid {holder[0]} at {holder[1]}")
            if time.monotonic() > deadline:
                pid = holder[0] if holder else "unknown"
                raise AlreadyRunningError(
                    f"the Temporal server of a `pytake up` that ended (pid {pid}) is still using this data "
                    "directory: stop it first"
                )
            await asyncio.sleep(0.1)
        os.ftruncate(self.descriptor, 0)
        note = json.dumps({"pid": os.getpid(), "address": address})
        os.pwrite(self.descriptor, note.encode(), 0)

    def release(self) -> None:
        """Release the lock."""
        os.close(self.descriptor)

    def _try_lock(self) -> bool:
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _holder(self) -> tuple[int, str] | None:
        """The holder's pid and address; ``None`` before it has written them."""
        try:
            note = json.loads(os.pread(self.descriptor, 1000, 0))
            return int(note["pid"]), str(note["address"])
        except (ValueError, KeyError, TypeError):
            return None


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
