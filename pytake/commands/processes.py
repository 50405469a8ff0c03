"""Commands that start processes."""

import asyncio
import os
from pathlib import Path
from typing import Annotated

import typer

from pytake.commands.terminal import exit_now, fail, read_settings


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
    settings = read_settings()
    sandbox = not no_sandbox and (
        settings.whatsapp.access_token is None or settings.sandbox.enabled
    )
    if not sandbox and settings.whatsapp.access_token is None:
        fail("configuration: WHATSAPP_ACCESS_TOKEN is needed with --no-sandbox")
    options = UpOptions(
        data_dir=settings.storage.data_dir.resolve(),
        host=settings.api.host,
        port=settings.api.port,
        temporal_port=temporal_port,
        temporal_ui_port=temporal_ui_port,
        sandbox_port=settings.sandbox.port,
        sandbox=sandbox,
    )
    code = 0
    try:
        asyncio.run(Supervisor(options, settings).run())
    except UpError as error:
        typer.echo(f"pytake up: {error}", err=True)
        code = 1
    exit_now(code)


def api() -> None:
    """Serve the HTTP API."""
    from api.app import main as api_main

    api_main()


def worker() -> None:
    """Run the worker: workflows and sends. Start as many as you like."""
    from worker import main as worker_main

    worker_main()


def sandbox() -> None:
    """Serve a stand-in for the Cloud API, with its controls under /sandbox/docs."""
    from pytake.process.logs import configure_logging
    from pytake.sandbox.server import build_server

    settings = read_settings()
    configure_logging(settings.telemetry.log_format, settings.telemetry.log_level)
    build_server(settings).run()
