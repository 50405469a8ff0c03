"""Shared by the commands: settings, the database, output, and how they exit."""

import os
import re
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NoReturn, TypeVar

import typer
from rich.console import Console

from pytake.settings import ConfigurationError, Settings, load_settings

if TYPE_CHECKING:
    from pytake.database.engine import Database

T = TypeVar("T")

console: Final = Console(soft_wrap=True)


def read_settings() -> Settings:
    """The settings; if any are wrong, the command fails with one line for each.

    From here on the process creates files for its own user only, and existing state is restricted too.
    """
    from pytake.process.data_dir import secure

    try:
        settings = load_settings()
        for warning in secure(settings.storage):
            typer.echo(f"warning: {warning}", err=True)
        return settings
    except ConfigurationError as error:
        fail(f"configuration: {error}")


def tenant_name(tenant: str) -> str:
    """A valid tenant name; the command fails if it is not one."""
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", tenant):
        fail("--tenant: letters, digits, '-', '_' and '.', at most 64")
    return tenant


def fail(message: str) -> NoReturn:
    """Print the message to standard error and exit with code 1."""
    typer.echo(message, err=True)
    raise typer.Exit(1)


def open_database() -> "Database":
    """The database, migrated to the newest schema."""
    from pytake.database.engine import Database

    database = Database(read_settings().storage.sqlalchemy_url, threads=1)
    database.migrate()
    return database


def in_database(call: "Callable[[Database], T]") -> T:
    """The result of ``call(database)``; the command fails with one line if the database is down."""
    from pytake.database.engine import UNAVAILABLE

    try:
        return call(open_database())
    except UNAVAILABLE as error:
        reason = " ".join(str(error.args[0]).split())[:300]
        fail(f"DATABASE_URL: the database cannot be used: {reason}")


def exit_now(code: int) -> NoReturn:
    """Exit at once: the Temporal client's native threads can abort an ordinary exit
    (temporalio/sdk-python#300).
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
