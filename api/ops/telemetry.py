"""``/metrics`` for Prometheus: this process's counters, and gauges of the queue and the numbers."""

import asyncio

import structlog
from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from sqlmodel import Session
from temporalio.client import Client
from temporalio.service import RPCError

from api.dependencies import ClientDep, DatabaseDep, PrincipalDep, SettingsDep
from api.errors import documented
from api.insights.queue import queue_stats
from pytake.access.principals import Principal
from pytake.clock import now
from pytake.database.engine import UNAVAILABLE, Database
from pytake.insights import counts as figures
from pytake.insights import store as snapshots
from pytake.insights.health import score
from pytake.numbers import store as numbers
from pytake.problems import ForbiddenError, ProblemError, UnauthorizedError
from pytake.process import telemetry
from pytake.settings import WhatsAppSettings
from pytake.tenants import DEFAULT_TENANT

router = APIRouter(tags=["health"])
_log = structlog.get_logger()


@router.get(
    "/metrics",
    response_class=Response,
    responses=documented(UnauthorizedError, ForbiddenError)
    | {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def metrics(
    database: DatabaseDep, client: ClientDep, settings: SettingsDep, principal: PrincipalDep
) -> Response:
    """Metrics in Prometheus' text format. They cover all tenants, so an admin key is needed if keys exist."""
    if not principal.admin:
        raise ForbiddenError("the metrics are of all tenants: use an admin key")
    await asyncio.gather(_queue(database, client, settings.whatsapp), _numbers(database))
    text = await asyncio.to_thread(generate_latest)
    return Response(text, headers={"Content-Type": CONTENT_TYPE_LATEST})


async def _queue(database: Database, client: Client, settings: WhatsAppSettings) -> None:
    """Set the gauges of the queue; what cannot be read is left out and logged."""
    try:
        found = await queue_stats(database, client, settings, Principal(DEFAULT_TENANT, admin=True))
    except (ProblemError, RPCError, *UNAVAILABLE) as error:
        _log.warning("queue not measured", error=type(error).__name__)
        telemetry.replace_series(telemetry.QUEUE_DEPTH, {})
        telemetry.replace_series(telemetry.MESSAGES, {})
        telemetry.PART_UP.labels("queue").set(0)
        return
    telemetry.replace_series(telemetry.QUEUE_DEPTH, dict(found.pending_by_priority))
    names = (
        "scheduled",
        "processing",
        "retrying",
        "held",
        "held_by_meta",
        "sent",
        "delivered",
        "read",
        "failed",
        "cancelled",
    )
    values = {name: getattr(found, name) for name in names}
    telemetry.replace_series(telemetry.MESSAGES, {"pending": found.pending_total, **values})
    telemetry.PART_UP.labels("queue").set(1)


async def _numbers(database: Database) -> None:
    gauges = (
        telemetry.NUMBER_RATE,
        telemetry.NUMBER_RATE_ALLOWED,
        telemetry.WINDOW_USED,
        telemetry.WINDOW_LIMIT,
        telemetry.HEALTH_SCORE,
    )
    try:
        rows = await database.read(_read_numbers)
    except UNAVAILABLE as error:
        _log.warning("numbers not measured", error=type(error).__name__)
        rows = [{} for _ in gauges]
    telemetry.PART_UP.labels("database").set(1 if any(rows) else 0)
    for gauge, values in zip(gauges, rows, strict=True):
        telemetry.replace_series(gauge, values)


def _read_numbers(session: Session) -> list[dict[str, float]]:
    """Allowed rate, full rate, window used, limit and health score, each by number."""
    rate: dict[str, float] = {}
    allowed: dict[str, float] = {}
    used: dict[str, float] = {}
    limit: dict[str, float] = {}
    health: dict[str, float] = {}
    at = now()
    for row in numbers.visible(session, None):
        rate[row.id] = row.effective_rate
        allowed[row.id] = row.base_rate
        use = figures.window_use(session, row, at)
        used[row.id] = use.used
        limit[row.id] = -1 if use.limit is None else use.limit
        snapshot = snapshots.get(session, row.id)
        reported = snapshot.health if snapshot else None
        if reported is not None:
            health[row.id] = score(reported)[0]
    return [rate, allowed, used, limit, health]
