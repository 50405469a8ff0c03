"""``/metrics`` for Prometheus: this process's counters, and the figures of queue and numbers."""

import asyncio

import structlog
from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from sqlmodel import Session
from temporalio.service import RPCError

from api.dependencies import PrincipalDep, Services, ServicesDep
from api.errors import documented
from api.insights.stats import stats
from pytake.access.principals import Principal
from pytake.clock import now
from pytake.database.engine import UNAVAILABLE
from pytake.insights import counts as figures
from pytake.insights import store as snapshots
from pytake.insights.health import score
from pytake.numbers import store as numbers
from pytake.problems import ForbiddenError, ProblemError, UnauthorizedError
from pytake.process import telemetry
from pytake.tenants import DEFAULT_TENANT
from pytake.whatsapp.number_health import NumberHealth

router = APIRouter(tags=["health"])
_log = structlog.get_logger()


@router.get(
    "/metrics",
    response_class=Response,
    responses=documented(UnauthorizedError, ForbiddenError)
    | {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def metrics(services: ServicesDep, principal: PrincipalDep) -> Response:
    """Prometheus' text format. The figures are of all tenants: an admin key is needed if there are keys."""
    if not principal.admin:
        raise ForbiddenError("the metrics are of all tenants: use an admin key")
    await asyncio.gather(_queue(services), _numbers(services))
    text = await asyncio.to_thread(generate_latest)
    return Response(text, headers={"Content-Type": CONTENT_TYPE_LATEST})


async def _queue(services: Services) -> None:
    """How many messages are where; what cannot be read is left out, and said."""
    try:
        found = await stats(services, Principal(DEFAULT_TENANT, admin=True))
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


async def _numbers(services: Services) -> None:
    gauges = (
        telemetry.NUMBER_RATE,
        telemetry.NUMBER_RATE_ALLOWED,
        telemetry.WINDOW_USED,
        telemetry.WINDOW_LIMIT,
        telemetry.HEALTH_SCORE,
    )
    try:
        rows = await services.database.read(_read_numbers)
    except UNAVAILABLE as error:
        _log.warning("numbers not measured", error=type(error).__name__)
        rows = [{} for _ in gauges]
    telemetry.PART_UP.labels("database").set(1 if any(rows) else 0)
    for gauge, values in zip(gauges, rows, strict=True):
        telemetry.replace_series(gauge, values)


def _read_numbers(session: Session) -> list[dict[str, float]]:
    """Rate, rate allowed, window used, limit and health score, each by number."""
    rate: dict[str, float] = {}
    allowed: dict[str, float] = {}
    used: dict[str, float] = {}
    limit: dict[str, float] = {}
    health: dict[str, float] = {}
    at = now()
    for row in numbers.visible(session, None):
        rate[row.id] = row.effective_rate
        allowed[row.id] = row.base_rate
        used[row.id], _ = figures.window_frees(session, row, at)
        daily = numbers.daily_limit(row)
        limit[row.id] = -1 if daily is None else daily
        snapshot = snapshots.get(session, row.id)
        if snapshot is not None and snapshot.body is not None:
            health[row.id] = score(NumberHealth.model_validate(snapshot.body))[0]
    return [rate, allowed, used, limit, health]
