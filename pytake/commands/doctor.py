"""``pytake doctor``: checks for common mistakes, and says how to fix them."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.engine import make_url
from temporalio.client import Client
from temporalio.service import RPCError

from pytake.database.engine import UNAVAILABLE, Database
from pytake.settings import Settings
from pytake.temporal import client as temporal
from pytake.whatsapp.client import CloudApi, RefusedError, SendError


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check: its subject, whether it passed, and what to do if not."""

    name: str
    ok: bool
    detail: str


async def examine(settings: Settings) -> list[Finding]:
    """Run every check; failures become findings."""
    checks: list[tuple[str, Callable[[Settings], Awaitable[str]]]] = [
        ("database", _database),
        ("Temporal", _temporal),
        ("WhatsApp token", _token),
        ("callback secret", _callback),
    ]
    findings = []
    for name, check in checks:
        try:
            findings.append(Finding(name, True, await check(settings)))
        except _CheckFailedError as error:
            findings.append(Finding(name, False, str(error)))
    return findings


class _CheckFailedError(Exception):
    pass


async def _database(settings: Settings) -> str:
    return await asyncio.to_thread(_examine_database, settings)


def _examine_database(settings: Settings) -> str:
    parsed = make_url(settings.storage.sqlalchemy_url)
    url = parsed.render_as_string(hide_password=True)
    if parsed.drivername == "sqlite" and not Path(parsed.database or "").exists():
        raise _CheckFailedError(f"{url} does not exist yet: run `pytake migrate`")
    database = Database(settings.storage.sqlalchemy_url, threads=1)
    try:
        problem = database.pending_migration()
    except UNAVAILABLE as error:
        raise _CheckFailedError(
            f"{url} cannot be reached ({type(error).__name__}): check DATABASE_URL"
        ) from None
    finally:
        database.close()
    if problem:
        raise _CheckFailedError(f"{url}: {problem}")
    return f"{url} is reachable and migrated"


async def _temporal(settings: Settings) -> str:
    try:
        client: Client = await temporal.connect()
        missing = await temporal.missing_search_attributes(client)
    except (RuntimeError, RPCError):
        raise _CheckFailedError(
            "not reachable: start it, or set TEMPORAL_ADDRESS (and TEMPORAL_NAMESPACE)"
        ) from None
    if missing:
        raise _CheckFailedError(
            f"search attributes are missing ({', '.join(missing)}): run `pytake migrate`"
        )
    return f"reachable, namespace {client.namespace!r} has its search attributes"


async def _token(settings: Settings) -> str:
    if settings.whatsapp.access_token is None and not settings.sandbox.enabled:
        return "none configured: `pytake up` uses the sandbox"
    base, version = settings.whatsapp.api_base_url, settings.whatsapp.api_version
    async with CloudApi(base, version, settings.whatsapp.bearer_token, timeout=10) as api:
        try:
            fields = "display_phone_number,verified_name"
            number = await api.get(settings.whatsapp.phone_number_id, fields=fields)
        except RefusedError as error:
            raise _CheckFailedError(f"refused: {error}. {error.rule.advice}") from None
        except SendError as error:
            raise _CheckFailedError(f"{base} cannot be reached: {error}") from None
    return f"accepted for {number.get('display_phone_number')} ({number.get('verified_name')})"


async def _callback(settings: Settings) -> str:
    if settings.sandbox.enabled or settings.whatsapp.access_token is None:
        return "not needed for the sandbox on this machine"
    missing = [
        name
        for name, value in (
            ("WHATSAPP_APP_SECRET", settings.whatsapp.app_secret),
            ("WHATSAPP_WEBHOOK_VERIFY_TOKEN", settings.whatsapp.webhook_verify_token),
        )
        if value is None
    ]
    if missing:
        raise _CheckFailedError(f"set {' and '.join(missing)}: without them no status ever arrives")
    return "set: callbacks are verified and accepted"
