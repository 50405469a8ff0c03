"""The ``pytake`` command."""

import asyncio
import os
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from pytake.commands import numbers
from pytake.commands.terminal import console as _console
from pytake.commands.terminal import fail as _fail
from pytake.commands.terminal import leave as _leave
from pytake.commands.terminal import open_database as _database
from pytake.commands.terminal import read_settings as _settings
from pytake.commands.terminal import tenant_name as _tenant_name
from pytake.settings import ConfigurationError

app = typer.Typer(
    help="PyTake: a WhatsApp Business messaging backend, durable on Temporal.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
key_app = typer.Typer(help="API keys.", no_args_is_help=True)
app.add_typer(key_app, name="key")
app.add_typer(numbers.app, name="number")


@app.command()
def up(
    data_dir: Annotated[
        Path | None, typer.Option(help="Where all state is kept  [.pytake]")
    ] = None,
    host: Annotated[str | None, typer.Option(help="Where the API listens  [127.0.0.1]")] = None,
    port: Annotated[int | None, typer.Option(help="The API's port  [8080]")] = None,
    temporal_port: Annotated[int, typer.Option(help="The Temporal server's port")] = 7233,
    temporal_ui_port: Annotated[int, typer.Option(help="The Temporal Web UI's port")] = 8233,
    sandbox_port: Annotated[int | None, typer.Option(help="The sandbox's port  [8090]")] = None,
    no_sandbox: Annotated[
        bool, typer.Option("--no-sandbox", help="Send to Meta, never to the sandbox")
    ] = False,
) -> None:
    """Start everything on this machine: Temporal, worker, API and (without a token) the sandbox."""
    from pytake.process.supervisor import Supervisor, UpError, UpOptions

    given = {
        "PYTAKE_DATA_DIR": data_dir,
        "PYTAKE_HOST": host,
        "PYTAKE_PORT": port,
        "PYTAKE_SANDBOX_PORT": sandbox_port,
    }
    os.environ.update({name: str(value) for name, value in given.items() if value is not None})
    settings = _settings()
    sandbox = not no_sandbox and (settings.whatsapp_access_token is None or settings.sandbox)
    if not sandbox and settings.whatsapp_access_token is None:
        _fail("configuration: WHATSAPP_ACCESS_TOKEN is needed with --no-sandbox")
    options = UpOptions(
        data_dir=settings.data_dir.resolve(),
        host=settings.host,
        port=settings.port,
        temporal_port=temporal_port,
        temporal_ui_port=temporal_ui_port,
        sandbox_port=settings.sandbox_port,
        sandbox=sandbox,
    )
    code = 0
    try:
        asyncio.run(Supervisor(options, settings).run())
    except UpError as error:
        typer.echo(f"pytake up: {error}", err=True)
        code = 1
    _leave(code)


@app.command()
def api() -> None:
    """Serve the HTTP API."""
    from api.app import main as api_main

    api_main()


@app.command()
def worker() -> None:
    """Run the worker: workflows and sends. Start as many as you like."""
    from worker import main as worker_main

    worker_main()


@app.command()
def sandbox() -> None:
    """Serve a stand-in for the Cloud API, with its controls under /sandbox/docs."""
    from pytake.process.logs import configure_logging
    from pytake.sandbox.server import build_server

    settings = _settings()
    configure_logging(settings.log_format, settings.log_level)
    build_server(settings).run()


@app.command()
def migrate() -> None:
    """Bring the database and Temporal's search attributes up to date."""
    from pytake.database.engine import UNAVAILABLE, Database

    settings = _settings()
    try:
        Database(settings.sqlalchemy_url, threads=1).migrate()
    except UNAVAILABLE as error:
        _fail(f"DATABASE_URL: the database cannot be migrated: {str(error.args[0])[:300]}")
    typer.echo("database: up to date")
    code = asyncio.run(_migrate_temporal())
    _leave(code)


@app.command("backup")
def make_backup(
    target: Annotated[Path, typer.Argument(help="A folder to make")],
    data_dir: Annotated[
        Path | None, typer.Option(help="Where `pytake up` keeps its state  [.pytake]")
    ] = None,
) -> None:
    """Copy all state of `pytake up` while it runs. To restore: stop it, put the files back, start it."""
    import sqlite3

    from pytake.commands.backup import BackupError, backup

    try:
        copies = backup(data_dir or _settings().data_dir, target)
    except (BackupError, OSError, sqlite3.Error) as error:
        _fail(f"no backup was made: {error}")
    for copy in copies:
        typer.echo(f"{copy}: {copy.stat().st_size:,} bytes")


@app.command()
def prune(
    older_than_days: float | None = typer.Option(
        None, min=0, help="PYTAKE_RETENTION_DAYS by default"
    ),
    dry_run: bool = typer.Option(False, "--dry-run", help="Count only"),
) -> None:
    """Delete finished messages, events and the like that are older than the retention."""
    from pytake.clock import now
    from pytake.database.engine import UNAVAILABLE, Database
    from pytake.retention import store as storage

    settings = _settings()
    days = settings.retention_days if older_than_days is None else older_than_days
    if older_than_days is None and days == 0:
        _fail("PYTAKE_RETENTION_DAYS is 0, keep forever: say --older-than-days")
    before = now() - timedelta(days=days)
    database = Database(settings.sqlalchemy_url, threads=1)
    try:
        counts = database.read_now(storage.count, before)
        for name in storage.names() if not dry_run else ():
            counts[name] = 0
            while removed := database.write_now(storage.step, name, before):
                counts[name] += removed
    except UNAVAILABLE as error:
        _fail(f"DATABASE_URL: the database cannot be pruned: {str(error.args[0])[:300]}")
    for name, number in counts.items():
        typer.echo(f"{name}: {number}{' would be deleted' if dry_run else ' deleted'}")


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


@app.command()
def doctor() -> None:
    """Check the set-up: Temporal, database, token, callback secret."""
    from pytake.commands.doctor import examine

    findings = asyncio.run(examine(_settings()))
    for finding in findings:
        mark = "[green]ok[/]     " if finding.ok else "[red]problem[/]"
        _console.print(f"{mark} {finding.name}: ", end="")
        _console.print(finding.detail, markup=False)
    _leave(0 if all(finding.ok for finding in findings) else 1)


@app.command("encryption-key")
def encryption_key() -> None:
    """Make a key for PYTAKE_ENCRYPTION_KEYS."""
    from cryptography.fernet import Fernet

    typer.echo(Fernet.generate_key().decode())


@app.command("rotate-encryption")
def rotate_encryption() -> None:
    """Encrypt what is stored with the first key of PYTAKE_ENCRYPTION_KEYS."""
    from pytake.database.vault import open_vault
    from pytake.webhooks import endpoints

    try:
        count = _database().write_now(endpoints.reseal, open_vault(_settings()))
    except ConfigurationError as error:
        _fail(f"configuration: {error}")
    typer.echo(f"{count} endpoints are encrypted with the first key")


@key_app.command("create")
def key_create(
    tenant: Annotated[str, typer.Option(help="The tenant the key belongs to")] = "default",
    admin: Annotated[bool, typer.Option("--admin", help="May act for any tenant")] = False,
    name: Annotated[str, typer.Option(help="A note for yourself")] = "",
) -> None:
    """Create an API key. It is shown once; only a hash is kept."""
    from pytake.access import keyless, keys
    from pytake.clock import now

    _tenant_name(tenant)
    keyless.remember(_settings().data_dir)
    _, text = _database().write_now(
        keys.create, tenant_id=tenant, admin=admin, name=name, now=now()
    )
    typer.echo(text)


@key_app.command("list")
def key_list() -> None:
    """List the keys, without their secrets."""
    from pytake.access import keys

    table = Table("id", "tenant", "admin", "name", "created", "revoked")
    for key in _database().read_now(keys.list_all):
        revoked = f"{key.revoked_at:%Y-%m-%d %H:%M}" if key.revoked_at else ""
        created = f"{key.created_at:%Y-%m-%d %H:%M}"
        table.add_row(key.id, key.tenant_id, "yes" if key.admin else "", key.name, created, revoked)
    _console.print(table)


@key_app.command("revoke")
def key_revoke(key_id: Annotated[str, typer.Argument(help="The id that `key list` shows")]) -> None:
    """Revoke a key; it stops working within seconds."""
    from pytake.access import keys
    from pytake.clock import now

    if not _database().write_now(keys.revoke, key_id, now()):
        _fail(f"no active key {key_id!r}")
    typer.echo("revoked")


def main() -> None:
    """Entry point of the ``pytake`` command."""
    os.umask(0o077)  # whatever a command writes is for its own user
    app()


if __name__ == "__main__":
    main()
