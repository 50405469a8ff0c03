"""The ``pytake`` command."""

import os

import typer

from pytake.commands import keys, numbers, processes, upkeep

app = typer.Typer(
    help="PyTake: a WhatsApp Business messaging backend, durable on Temporal.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for command in (
    processes.up,
    processes.api,
    processes.worker,
    processes.sandbox,
    upkeep.migrate,
    upkeep.prune,
    upkeep.doctor,
):
    app.command()(command)
app.command("backup")(upkeep.make_backup)
app.command("encryption-key")(upkeep.encryption_key)
app.command("rotate-encryption")(upkeep.rotate_encryption)
app.add_typer(keys.app, name="key")
app.add_typer(numbers.app, name="number")


def main() -> None:
    """Entry point of the ``pytake`` command."""
    os.umask(0o077)  # files that a command creates are private to its user
    app()


if __name__ == "__main__":
    main()
