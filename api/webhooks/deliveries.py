"""Webhook events and deliveries: send, list, statistics, retry and replay."""

import hashlib
import json
import secrets
import statistics
from collections import defaultdict
from dataclasses import replace
from datetime import timedelta
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from sqlmodel import Session
from temporalio.common import SearchAttributePair, TypedSearchAttributes
from temporalio.service import RPCError, RPCStatusCode
from ulid import ULID

from api.dependencies import (
    ClientDep,
    DatabaseDep,
    DispatcherDep,
    LinksDep,
    PrincipalDep,
    SettingsDep,
)
from api.errors import documented
from api.fields import IsoDatetime
from api.links import WorkflowLinks
from api.paging import decode_cursor, encode_cursor
from api.webhooks.dependencies import EndpointDep
from api.webhooks.editing import check_target, create, new_endpoint, vault_of
from api.webhooks.schemas import (
    AttemptView,
    DeliveryPage,
    DeliveryView,
    Figures,
    ReplayBody,
    ReplayView,
    SendEventBody,
    SentEvent,
)
from pytake.access.principals import Principal
from pytake.clock import now
from pytake.database.engine import Database
from pytake.problems import (
    ConflictError,
    ForbiddenError,
    InvalidRequestError,
    NotFoundError,
    UnauthorizedError,
    UnavailableError,
)
from pytake.settings import Settings
from pytake.temporal.attributes import TENANT
from pytake.temporal.queues import WORKFLOW_QUEUE
from pytake.webhooks import deliveries, endpoints, events
from pytake.webhooks.contracts import DeliveryInput, ReplayInput
from pytake.webhooks.deliveries import DeliveryFilter
from pytake.webhooks.events import NewEvent
from pytake.webhooks.policies import DeliveryStatus
from pytake.webhooks.signing import new_secret
from pytake.webhooks.tables import WebhookDelivery, WebhookEvent, WebhookReplay
from workflows.webhook_delivery import WebhookDeliveryWorkflow, WebhookReplayWorkflow

router = APIRouter(prefix="/api/v1/webhooks", tags=["webhooks"])

_COMMON = documented(UnauthorizedError, InvalidRequestError, UnavailableError)
_ONE = _COMMON | documented(NotFoundError)
_FIGURES_DAYS = 30


@router.post(
    "/send",
    status_code=HTTPStatus.ACCEPTED,
    responses=_COMMON | documented(ForbiddenError, ConflictError),
)
async def send_event(
    body: SendEventBody,
    database: DatabaseDep,
    dispatcher: DispatcherDep,
    settings: SettingsDep,
    principal: PrincipalDep,
) -> SentEvent:
    """Send a custom event to every subscribed endpoint, or to ``target_url`` only."""
    tenant_id = principal.acting_for(body.tenant_id)
    sealed = (
        vault_of(settings.storage).seal(dict(body.custom_headers)) if body.custom_headers else None
    )
    key = f"key:{body.idempotency_key}" if body.idempotency_key else secrets.token_hex(16)
    event = NewEvent(tenant_id, body.event_type, key, body.payload, now(), sealed_headers=sealed)
    only = shown = None
    if body.target_url is not None:
        check_target(settings.webhooks, "target_url", body.target_url)
        only, shown = await _one_off(database, settings, tenant_id, body.target_url)
    most = settings.webhooks.event_bytes
    try:
        started = await database.write(events.emit, [event], now(), only, most)
    except events.FanOutError as error:
        raise InvalidRequestError.of("payload", f"{error} (PYTAKE_WEBHOOK_EVENT_BYTES)") from None
    dispatcher.soon(started)
    found = await database.read(deliveries.find, event.id)
    return SentEvent(event_id=event.id, deliveries=[row.id for row in found], secret=shown)


async def _one_off(
    database: Database, settings: Settings, tenant_id: str, url: str
) -> tuple[str, str | None]:
    existing = await database.read(endpoints.one_off, tenant_id, url)
    if existing is not None:
        return existing.id, None
    secret = new_secret()
    # If two requests name the same new address at the same time, one of them creates the endpoint.
    digest = hashlib.sha256(f"{tenant_id}\0{url}".encode()).hexdigest()
    endpoint = new_endpoint(f"whe_{digest[:20]}", tenant_id, url, one_off=True)
    endpoint.sealed = vault_of(settings.storage).seal({"secret": secret})
    if await create(database, settings.webhooks, endpoint, "target_url"):
        return endpoint.id, secret
    existing = await database.read(endpoints.one_off, tenant_id, url)
    if existing is None:
        raise ConflictError("the endpoint of the target address was changed meanwhile: try again")
    return existing.id, None


def _scope(principal: Principal, tenant_id: str | None) -> str | None:
    return principal.acting_for(tenant_id) if tenant_id is not None else principal.scope


async def wanted_deliveries(
    principal: PrincipalDep,
    endpoint_id: str | None = None,
    event_type: str | None = None,
    tenant_id: str | None = None,
    since: IsoDatetime | None = None,
    until: IsoDatetime | None = None,
) -> DeliveryFilter:
    """The filter of a list, from its query."""
    scope = _scope(principal, tenant_id)
    return DeliveryFilter(scope, endpoint_id, event_type, (), since, until)


FilterDep = Annotated[DeliveryFilter, Depends(wanted_deliveries)]
Limit = Annotated[int, Query(ge=1, le=100)]
Cursor = Annotated[str | None, Query(max_length=4096)]


@router.get("/deliveries", responses=_COMMON)
async def list_deliveries(
    database: DatabaseDep,
    links: LinksDep,
    wanted: FilterDep,
    status: DeliveryStatus | None = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> DeliveryPage:
    """Deliveries, newest first."""
    statuses = (status.value,) if status else ()
    return await _page(database, links, replace(wanted, statuses=statuses), limit, cursor)


@router.get("/dead-letter", responses=_COMMON)
async def dead_letters(
    database: DatabaseDep,
    links: LinksDep,
    wanted: FilterDep,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> DeliveryPage:
    """Deliveries that were given up, newest first."""
    statuses = (DeliveryStatus.DEAD.value,)
    return await _page(database, links, replace(wanted, statuses=statuses), limit, cursor)


async def _page(
    database: Database, links: WorkflowLinks, wanted: DeliveryFilter, limit: int, cursor: str | None
) -> DeliveryPage:
    before = decode_cursor(cursor) if cursor else None
    rows = await database.read(deliveries.list_deliveries, wanted, limit + 1, before)
    page = rows[:limit]
    more = encode_cursor(page[-1].created_at, page[-1].id) if len(rows) > limit else None
    return DeliveryPage(deliveries=[_view(row, links) for row in page], next_cursor=more)


@router.get("/delivery/{delivery_id}", responses=_ONE)
async def get_delivery(
    delivery_id: str, database: DatabaseDep, links: LinksDep, principal: PrincipalDep
) -> DeliveryView:
    """One delivery with its event and every attempt."""
    row = (await _find(database, principal, delivery_id))[0]
    view = _view(row, links)
    event = await database.read(_event, row.event_id)
    view.event = json.loads(event.body) if event else None
    log = await database.read(deliveries.attempts_of, row.id)
    view.attempt_log = [AttemptView.model_validate(item.model_dump()) for item in log]
    return view


def _event(session: Session, event_id: str) -> WebhookEvent | None:
    return session.get(WebhookEvent, event_id)


async def _find(database: Database, principal: Principal, some_id: str) -> list[WebhookDelivery]:
    found = await database.read(deliveries.find, some_id[:64])
    visible = [row for row in found if principal.sees(row.tenant_id)]
    if not visible:
        raise NotFoundError(f"no delivery or event {some_id[:64]!r}")
    return visible


@router.post(
    "/retry/{some_id}", status_code=HTTPStatus.ACCEPTED, responses=_ONE | documented(ConflictError)
)
async def retry_one(
    some_id: str,
    database: DatabaseDep,
    client: ClientDep,
    dispatcher: DispatcherDep,
    links: LinksDep,
    principal: PrincipalDep,
) -> list[DeliveryView]:
    """Deliver again, by delivery or event id. A pending one is attempted now, not twice."""
    found = await _find(database, principal, some_id)
    pending = [row for row in found if row.status == DeliveryStatus.PENDING.value]
    finished = [row.id for row in found if row.status in deliveries.REPLAYABLE]
    if not pending and not finished:
        raise ConflictError(
            "it was delivered: only dead letters, discarded and pending ones can be retried"
        )
    lost: list[WebhookDelivery] = []
    for row in pending:
        handle = client.get_workflow_handle(row.workflow_id)
        try:
            await handle.signal(WebhookDeliveryWorkflow.retry_now)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            if row.dispatched_at is not None:  # else the sweep is about to start it
                lost.append(row)
    started = await database.write(_replay, finished, lost)
    await dispatcher.start(started)
    return [_view(row, links) for row in await _find(database, principal, some_id)]


def _replay(
    session: Session, finished: list[str], lost: list[WebhookDelivery]
) -> list[DeliveryInput]:
    """Replay finished deliveries, and pending ones whose workflow was ended from outside."""
    at, again = now(), list(finished)
    for row in lost:
        deliveries.finish(
            session, row.id, row.run, DeliveryStatus.DEAD, at, "the workflow was ended in Temporal"
        )
        current = session.get_one(WebhookDelivery, row.id)
        if current.run == row.run and current.status in deliveries.REPLAYABLE:
            again.append(row.id)
    return deliveries.replay(session, again, at)


@router.post(
    "/retry",
    responses=_COMMON | documented(ForbiddenError) | {202: {"model": ReplayView}},
    status_code=HTTPStatus.ACCEPTED,
)
async def replay_many(
    body: ReplayBody, database: DatabaseDep, client: ClientDep, principal: PrincipalDep
) -> ReplayView:
    """Deliver many again, durably and paced; with ``dry_run``, the default, only count them."""
    wanted = body.model_dump(
        mode="json", include={"endpoint_id", "event_type", "statuses", "since", "until"}
    )
    wanted["tenant_id"] = _scope(principal, body.tenant_id)
    row = WebhookReplay(
        id=f"replay-{ULID()}",
        tenant_id=wanted["tenant_id"] or "*",
        wanted=wanted,
        total=0,
        per_second=body.per_second,
        created_at=now(),
    )
    row.total = await database.read(deliveries.count, deliveries.replay_filter(row))
    if body.dry_run:
        return ReplayView(dry_run=True, total=row.total, status="counted")
    await database.write(_add, row)
    await client.start_workflow(
        WebhookReplayWorkflow.run,
        ReplayInput(replay_id=row.id, tenant_id=row.tenant_id),
        id=row.id,
        task_queue=WORKFLOW_QUEUE,
        search_attributes=TypedSearchAttributes([SearchAttributePair(TENANT, row.tenant_id)]),
    )
    return _replay_view(row)


def _add(session: Session, row: WebhookReplay) -> None:
    session.add(row)


@router.get("/retry/{replay_id}", responses=_ONE)
async def replay_progress(
    replay_id: str, database: DatabaseDep, principal: PrincipalDep
) -> ReplayView:
    """The progress of a replay."""
    return _replay_view(await _load_replay(database, principal, replay_id))


@router.post("/retry/{replay_id}/cancel", status_code=HTTPStatus.ACCEPTED, responses=_ONE)
async def cancel_replay(
    replay_id: str, database: DatabaseDep, client: ClientDep, principal: PrincipalDep
) -> ReplayView:
    """Stop a replay; deliveries that it has started continue."""
    row = await _load_replay(database, principal, replay_id)
    if row.status == "running":
        try:
            await client.get_workflow_handle(row.id).signal(WebhookReplayWorkflow.cancel)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            await database.write(deliveries.end_replay, row.id, "cancelled", now())
    return _replay_view(await _load_replay(database, principal, replay_id))


async def _load_replay(database: Database, principal: Principal, replay_id: str) -> WebhookReplay:
    row = await database.read(lambda session: session.get(WebhookReplay, replay_id[:64]))
    if row is None or not principal.sees(row.tenant_id):
        raise NotFoundError(f"no replay {replay_id[:64]!r}")
    return row


def _replay_view(row: WebhookReplay) -> ReplayView:
    return ReplayView.model_validate(row.model_dump())


@router.get("/metrics/{endpoint_id}", responses=_ONE)
async def figures(endpoint: EndpointDep, database: DatabaseDep) -> Figures:
    """Delivery statistics of an endpoint."""
    since = now() - timedelta(days=_FIGURES_DAYS)
    found: dict[str, Any] = await database.read(
        deliveries.figures, endpoint.tenant_id, endpoint.id, since
    )
    by_status = found["by_status"]
    delivered, dead = by_status.get("delivered", 0), by_status.get("dead_letter", 0)
    durations = sorted(duration for _, ok, duration in found["attempts"] if ok)
    days: dict[str, dict[str, int]] = defaultdict(lambda: {"successes": 0, "failures": 0})
    for at, ok, _ in found["attempts"]:
        days[f"{at:%Y-%m-%d}"]["successes" if ok else "failures"] += 1
    return Figures(
        endpoint_id=endpoint.id,
        events=sum(by_status.values()),
        successes=delivered,
        failures=dead,
        failed_attempts=found["failed_attempts"],
        pending_retries=by_status.get("pending", 0),
        dead_letters=dead,
        discarded=by_status.get("discarded", 0),
        success_rate=delivered / (delivered + dead) if delivered + dead else None,
        latency_ms={
            name: _percentile(durations, share)
            for name, share in (("p50", 50), ("p95", 95), ("p99", 99))
        },
        last_success_at=endpoint.last_success_at,
        last_failure_at=endpoint.last_failure_at,
        per_day=[{"day": day, **counts} for day, counts in sorted(days.items())],
    )


def _percentile(ordered: list[float], percent: int) -> float | None:
    if len(ordered) < 2:
        return ordered[0] if ordered else None
    return statistics.quantiles(ordered, n=100, method="inclusive")[percent - 1]


def _view(row: WebhookDelivery, links: WorkflowLinks) -> DeliveryView:
    return DeliveryView.model_validate({**row.model_dump(), "links": links.of(row.workflow_id)})
