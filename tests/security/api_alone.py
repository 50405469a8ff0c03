"""The API alone, with its server and database but no Temporal."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from api.app import build_server
from pytake.access import keys
from pytake.clock import now
from pytake.database.engine import Database
from pytake.settings import Settings
from tests.stack import bearer, http, make_settings, serving


@dataclass
class Alone:
    settings: Settings
    server: uvicorn.Server
    database: Database
    client: httpx.AsyncClient
    """Without a key."""

    def key(self, *, admin: bool = True) -> dict[str, str]:
        """The authorization header of a new key."""
        _, text = self.database.write_now(
            keys.create, tenant_id="default", admin=admin, name="", now=now()
        )
        return bearer(text)


@asynccontextmanager
async def api_alone(directory: Path, **changes: Any) -> AsyncIterator[Alone]:
    settings = make_settings(directory, **changes)
    database = Database(settings.storage.sqlalchemy_url, threads=1)
    database.migrate()
    server = build_server(settings)
    async with (
        serving(server),
        http(f"http://127.0.0.1:{settings.api.port}") as client,
    ):
        yield Alone(settings, server, database, client)
    database.close()
