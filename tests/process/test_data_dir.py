"""The data directory is private to its user, and used by one `up` at a time."""

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from pytake.commands.backup import backup
from pytake.database.engine import Database
from pytake.process.data_dir import AlreadyRunningError, UpLock, secure, tighten
from pytake.settings import ConfigurationError, load_settings

HOLDER = """
import asyncio, os, pathlib, subprocess, sys
from pytake.process.data_dir import UpLock
lock = UpLock(pathlib.Path(sys.argv[1]))
asyncio.run(lock.acquire("http://127.0.0.1:8080"))
server = subprocess.Popen(["sleep", "60"], pass_fds=(lock.descriptor,), stdout=subprocess.DEVNULL)
print(server.pid, flush=True)
sys.stdin.read()
"""


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.fixture(autouse=True)
def _umask() -> object:
    before = os.umask(0o022)
    yield
    os.umask(before)


def test_an_existing_looser_directory_is_tightened(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    directory.mkdir(mode=0o755)
    names = ("pytake.db", "pytake.db-wal", "pytake.db-shm", "temporal.db", "encryption.key")
    for name in (*names, "own.txt"):
        (directory / name).write_text("")
    (tmp_path / "elsewhere").write_text("")
    (directory / "temporal.db-wal").symlink_to(tmp_path / "elsewhere")
    assert tighten(directory) == []
    assert mode(directory) == 0o700
    assert {mode(directory / name) for name in names} == {0o600}
    assert mode(directory / "own.txt") == 0o644, "not PyTake's"
    assert mode(tmp_path / "elsewhere") == 0o644, "links are not followed"


def test_created_files_are_private_wherever_the_database_is(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir(mode=0o755)
    (other / "pytake.db").write_text("")
    url = f"sqlite:///{other / 'pytake.db'}"
    settings = load_settings(
        {"PYTAKE_DATA_DIR": tmp_path / "new" / "data", "DATABASE_URL": url}, env_file=None
    )
    assert secure(settings.storage) == []
    database = Database(url, threads=1)
    database.migrate()
    assert {mode(path) for path in other.iterdir()} == {0o600}
    assert mode(other) == 0o755, "not the data directory"
    database.close()
    settings = load_settings({"PYTAKE_DATA_DIR": tmp_path / "new" / "data"}, env_file=None)
    Database(settings.storage.sqlalchemy_url, threads=1).migrate()
    assert mode(settings.storage.data_dir) == mode(settings.storage.data_dir.parent) == 0o700
    assert mode(settings.storage.data_dir / "pytake.db") == 0o600


def test_a_shared_directory_keeps_its_mode_with_a_warning(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    (tmp_path / "pytake.db").write_text("")
    (warning,) = tighten(tmp_path)
    assert "a folder of its own" in warning
    assert (mode(tmp_path), mode(tmp_path / "pytake.db")) == (0o777, 0o600)
    tmp_path.chmod(0o700)


def test_another_users_directory_is_warned_about_or_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: own + 1)
    tmp_path.chmod(0o755)
    (warning,) = tighten(tmp_path)
    assert f"belongs to user {own}" in warning
    assert mode(tmp_path) == 0o755
    tmp_path.chmod(0o777)
    with pytest.raises(ConfigurationError, match="anybody may write to it"):
        tighten(tmp_path)
    tmp_path.chmod(0o700)


def test_backup_files_are_private_from_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    for name in ("pytake.db", "temporal.db"):
        Database(f"sqlite:///{data / name}", threads=1).migrate()
    seen: list[int] = []
    real = sqlite3.connect

    def connect(database: Path | str, **options: bool) -> sqlite3.Connection:
        if isinstance(database, Path):
            seen.append(mode(database))
        return real(database, **options)

    monkeypatch.setattr(sqlite3, "connect", connect)
    backup(data, tmp_path / "copy")
    assert seen == [0o600, 0o600]
    assert mode(tmp_path / "copy") == 0o700


async def test_a_second_up_is_refused_until_the_firsts_server_has_stopped(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    server = int(holder.stdout.readline())
    lock = UpLock(tmp_path)
    with pytest.raises(
        AlreadyRunningError, match=f"^already running as pid {holder.pid} at http://127.0.0.1:8080$"
    ):
        await lock.acquire("http://127.0.0.1:9090")
    holder.kill()
    holder.communicate()
    with pytest.raises(AlreadyRunningError, match=f"pid {holder.pid}.* still using"):
        await lock.acquire("http://127.0.0.1:9090", wait_seconds=0.3)
    os.kill(server, 9)
    await lock.acquire("http://127.0.0.1:9090")
    lock.release()
    assert mode(tmp_path / "up.lock") == 0o600
