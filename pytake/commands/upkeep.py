"""Maintenance commands: migrate, back up, prune, rotate encryption, and check the set-up."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from pytake.commands.terminal import console, exit_now, fail, open_database, read_settings
from pytake.settings import ConfigurationError


def migrate() -> None:
    """Bring the database and Temporal's search attributes up to date."""
    from pytake.database.engine import UNAVAILABLE, Database

    settings = read_settings()
    try:
        Database(settings.storage.sqlalchemy_url, threads=1).migrate()
    except UNAVAILABLE as error:
        fail(f"DATABASE_URL: the database cannot be migrated: {str(error.args[0])[:300]}")
    typer.echo("database: up to date")
    code = asyncio.run(_migrate_temporal())
    exit_now(code)


async def _migrate_temporal() -> int:
    from temporalio.service import RPCError

    from pytake.temporal import client as temporal

    try:
        client = await temporal.connect()
        added = await temporal.ensure_search_attributes(client)
        await temporal.ensure_rate_limits(client)
    except (RuntimeError, RPCError):
        typer.echo("temporal: not reachable; run this again once it is up", err=True)
        return 1
    typer.echo(f"temporal: {'added ' + ', '.join(added) if added else 'up to date'}")
    return 0


def make_backup(
    target: Annotated[Path, typer.Argument(help="A folder to create")],
    data_dir: Annotated[
        Path | None, typer.Option(help="Where `pytake up` keeps its state  [.pytake]")
    ] = None,
) -> None:
    """Copy all state of `pytake up` while it runs. To restore: stop it, put the files back, start it."""
    import sqlite3

    from pytake.commands.backup import BackupError, backup

    try:
        copies = backup(data_dir or read_settings().storage.data_dir, target)
    except (BackupError, OSError, sqlite3.Error) as error:
        fail(f"no backup was made: {error}")
    for copy in copies:
        typer.echo(f"{copy}: {copy.stat().st_size:,} bytes")


def prune(
    older_than_days: float | None = typer.Option(
        None, min=0, help="PYTAKE_RETENTION_DAYS by default"
    ),
    dry_run: bool = typer.Option(False, "--dry-run", help="Count only"),
) -> None:
    """Delete finished messages, events and other rows that are older than the retention."""
    from pytake.clock import now
    from pytake.database.engine import UNAVAILABLE, Database
    from pytake.retention import store as storage

    settings = read_settings()
    days = settings.worker.retention_days if older_than_days is None else older_than_days
    if older_than_days is None and days == 0:
        fail("PYTAKE_RETENTION_DAYS is 0, keep forever: give --older-than-days")
    before = now() - timedelta(days=days)
    database = Database(settings.storage.sqlalchemy_url, threads=1)
    try:
        counts = database.read_now(storage.count, before)
        for name in storage.names() if not dry_run else ():
            counts[name] = 0
            while removed := database.write_now(storage.step, name, before):
                counts[name] += removed
    except UNAVAILABLE as error:
        fail(f"DATABASE_URL: the database cannot be pruned: {str(error.args[0])[:300]}")
    for name, number in counts.items():
        typer.echo(f"{name}: {number}{' would be deleted' if dry_run else ' deleted'}")


def doctor() -> None:
    """Check the set-up: Temporal, database, token, callback secret."""
    from pytake.commands.doctor import examine

    findings = asyncio.run(examine(read_settings()))
    for finding in findings:
        mark = "[green]ok[/]     " if finding.ok else "[red]problem[/]"
        console.print(f"{mark} {finding.name}: ", end="")
        console.print(finding.detail, markup=False)
    exit_now(0 if all(finding.ok for finding in findings) else 1)


def encryption_key() -> None:
    """Make a key for PYTAKE_ENCRYPTION_KEYS."""
    from cryptography.fernet import Fernet

    typer.echo(Fernet.generate_key().decode())


def rotate_encryption() -> None:
    """Re-encrypt stored secrets with the first key of PYTAKE_ENCRYPTION_KEYS."""
    from pytake.database.vault import open_vault
    from pytake.webhooks import endpoints

    try:
        count = open_database().write_now(endpoints.reseal, open_vault(read_settings().storage))
    except ConfigurationError as error:
        fail(f"configuration: {error}")
    typer.echo(f"re-encrypted {count} endpoints with the first key")
