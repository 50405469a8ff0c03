"""The database: engine, transactions off the event loop, and migrations."""

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    InterfaceError,
    ProgrammingError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlmodel import Session

P = ParamSpec("P")
T = TypeVar("T")

UNAVAILABLE = (DBAPIError, PoolTimeoutError)
"""What database calls raise when the database is locked, full or down."""

_DATA_ERRORS = ("22", "23", "54")
"""PostgreSQL's SQLSTATE classes for data exceptions, integrity violations and exceeded limits."""

_MIGRATIONS = Path(__file__).parent / "migrations"
_BUSY_TIMEOUT_MS = 10_000


def is_outage(error: Exception) -> bool:
    """Whether a transaction failed because of the database's state (locked, full, down, wrong schema)
    and may succeed later with the same data. Other errors come from the data or the code.
    """
    if isinstance(error, PoolTimeoutError | OSError):
        return True
    if not isinstance(error, DBAPIError):
        return False
    state = getattr(error.orig, "sqlstate", None)
    if state is not None:
        return not state.startswith(_DATA_ERRORS)
    if isinstance(error, ProgrammingError | InterfaceError):
        # A value that the driver does not accept for any column, unlike a closed connection.
        text = str(error.orig)
        return not ("adapt" in text or "binding parameter" in text or "not supported" in text)
    return not isinstance(error, DataError | IntegrityError)


class Database:
    """Runs functions that take a session in transactions, in threads of its own.

    SQLite syncs every commit (``synchronous=FULL``), so that acknowledged writes survive a power cut.
    It allows one writer: writes queue on a lock in the process (waiting on SQLite's own would
    poll) and start with BEGIN IMMEDIATE, so that none fails half-way with a stale snapshot.
    """

    def __init__(self, url: str, threads: int = 8) -> None:
        self.url = url
        self.sqlite = url.startswith("sqlite")
        self.engine = _sqlite_engine(url) if self.sqlite else _postgres_engine(url, threads)
        self._writer = self.engine.execution_options(pytake_write=True)
        self._write_lock = threading.Lock()
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="database")

    def read_now(
        self, function: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run ``function(session, ...)`` in a read transaction, in this thread."""
        with Session(self.engine, expire_on_commit=False) as session:
            return function(session, *args, **kwargs)

    def write_now(
        self, function: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run ``function(session, ...)`` and commit, in this thread."""
        if not self.sqlite:
            return self._write(function, *args, **kwargs)
        with self._write_lock:
            return self._write(function, *args, **kwargs)

    def _write(
        self, function: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        with Session(self._writer, expire_on_commit=False) as session, session.begin():
            return function(session, *args, **kwargs)

    async def read(
        self, function: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """:meth:`read_now` off the event loop."""
        return await self._run(lambda: self.read_now(function, *args, **kwargs))

    async def write(
        self, function: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """:meth:`write_now` off the event loop."""
        return await self._run(lambda: self.write_now(function, *args, **kwargs))

    async def _run(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, call)

    def close(self) -> None:
        """Wait for running transactions and close every connection."""
        self._executor.shutdown(wait=True)
        self.engine.dispose()

    def migrate(self) -> None:
        """Migrate to the newest schema; creates SQLite's folder and file."""
        if self.sqlite and (path := make_url(self.url).database):
            Path(path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with suppress(FileExistsError):  # SQLite itself would use the umask
                os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        config = Config()
        config.set_main_option("script_location", str(_MIGRATIONS))
        with self.engine.begin() as connection:
            if not self.sqlite:
                connection.execute(text("SELECT pg_advisory_xact_lock(7261893)"))
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    def pending_migration(self) -> str | None:
        """``None`` if the schema is current, else a sentence that says which revision it is at."""
        with self.engine.connect() as connection:
            current = MigrationContext.configure(connection).get_current_revision()
        head = ScriptDirectory(str(_MIGRATIONS)).get_current_head()
        if current == head:
            return None
        return f"schema is at revision {current or 'none'}, not {head}: run `pytake migrate`"


def _postgres_engine(url: str, threads: int) -> Engine:
    return create_engine(
        url,
        pool_size=threads,
        max_overflow=0,
        pool_timeout=10,
        pool_pre_ping=True,
        hide_parameters=True,
        connect_args={"connect_timeout": 5, "options": "-c statement_timeout=15000"},
    )


def _sqlite_engine(url: str) -> Engine:
    engine = create_engine(
        url,
        hide_parameters=True,  # errors would quote message texts
        connect_args={"check_same_thread": False, "timeout": _BUSY_TIMEOUT_MS / 1000},
    )

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # transactions are begun below, not by the driver
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute(f"PRAGMA busy_timeout={_BUSY_TIMEOUT_MS}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        write = connection.get_execution_options().get("pytake_write")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine
