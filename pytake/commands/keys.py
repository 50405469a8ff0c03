"""``pytake key``: API keys."""

from typing import Annotated

import typer
from rich.table import Table

from pytake.commands.terminal import console, fail, open_database, read_settings, tenant_name

app = typer.Typer(help="API keys.", no_args_is_help=True)


@app.command("create")
def create(
    tenant: Annotated[str, typer.Option(help="The tenant the key belongs to")] = "default",
    admin: Annotated[bool, typer.Option("--admin", help="May act for any tenant")] = False,
    name: Annotated[str, typer.Option(help="A note for yourself")] = "",
) -> None:
    """Create an API key. It is shown once; only a hash is kept."""
    from pytake.access import keyless, keys
    from pytake.clock import now

    tenant_name(tenant)
    keyless.try_write_marker(read_settings().storage.data_dir)
    _, text = open_database().write_now(
        keys.create, tenant_id=tenant, admin=admin, name=name, now=now()
    )
    typer.echo(text)


@app.command("list")
def list_() -> None:
    """List the keys, without their secrets."""
    from pytake.access import keys

    table = Table("id", "tenant", "admin", "name", "created", "revoked")
    for key in open_database().read_now(keys.list_all):
        revoked = f"{key.revoked_at:%Y-%m-%d %H:%M}" if key.revoked_at else ""
        created = f"{key.created_at:%Y-%m-%d %H:%M}"
        table.add_row(key.id, key.tenant_id, "yes" if key.admin else "", key.name, created, revoked)
    console.print(table)


@app.command("revoke")
def revoke(key_id: Annotated[str, typer.Argument(help="The id that `key list` shows")]) -> None:
    """Revoke a key; it stops working within seconds."""
    from pytake.access import keys
    from pytake.clock import now

    if not open_database().write_now(keys.revoke, key_id, now()):
        fail(f"no active key {key_id!r}")
    typer.echo("revoked")
