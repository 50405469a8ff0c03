"""Webhook endpoints: where and how a tenant's events are delivered."""

import asyncio
import secrets
from datetime import timedelta
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Response
from temporalio.client import Client

from api.dependencies import ClientDep, DatabaseDep, DispatcherDep, PrincipalDep, SettingsDep
from api.errors import documented
from api.webhooks.dependencies import EndpointDep
from api.webhooks.editing import apply, change, create, new_endpoint, vault_of
from api.webhooks.schemas import ConfigureBody, EndpointView, PatchBody, RotateBody
from api.webhooks.views import hints_for, view
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
from pytake.temporal import client as temporal
from pytake.temporal import queues
from pytake.webhooks import deliveries, endpoints, events
from pytake.webhooks.event_types import SCHEMAS, EventType
from pytake.webhooks.events import NewEvent
from pytake.webhooks.signing import new_secret
from pytake.webhooks.tables import WebhookEndpoint

router = APIRouter(prefix="/api/v1/webhooks", tags=["webhooks"])

_COMMON = documented(UnauthorizedError, InvalidRequestError, UnavailableError)
_ONE = _COMMON | documented(ForbiddenError, NotFoundError)
_CHANGE = _ONE | documented(ConflictError)


@router.post("/configure", responses=_CHANGE | {201: {"model": EndpointView}})
async def configure(
    body: ConfigureBody,
    response: Response,
    database: DatabaseDep,
    client: ClientDep,
    settings: SettingsDep,
    principal: PrincipalDep,
) -> EndpointView:
    """Create an endpoint (201), or update the tenant's endpoint ``id`` (200)."""
    tenant_id = principal.acting_for(body.tenant_id)
    given = {"secret": body.secret} if body.secret is not None else {}

    def edit(endpoint: WebhookEndpoint, sealed: dict[str, Any]) -> None:
        sealed.update(given)
        apply(settings.webhooks, endpoint, sealed, body, url=body.url, subscriptions=body.events)

    shown: str | None = None
    existing = await database.read(endpoints.get, tenant_id, body.id) if body.id else None
    if existing is None:
        if body.id and principal.admin and body.tenant_id is None:
            await _refuse_another_owner(database, body.id)
        made = new_endpoint(body.id or f"whe_{secrets.token_hex(10)}", tenant_id, body.url)
        sealed = {"secret": body.secret or new_secret()}
        await asyncio.to_thread(edit, made, sealed)
        made.sealed = vault_of(settings.storage).seal(sealed)
        if await create(database, settings.webhooks, made, "tenant_id"):
            shown = None if body.secret else sealed["secret"]
            response.status_code = HTTPStatus.CREATED
        else:  # a concurrent request of the same tenant created it
            existing = await database.read(endpoints.get, tenant_id, made.id)
    if existing is not None:
        made, sealed = await change(database, vault_of(settings.storage), existing, edit)
    await _follow_rate(client, made, made.rate_limit_per_second)
    hints = await hints_for(database, principal, made, sealed["secret"])
    return view(made, sealed, shown, hints)


async def _refuse_another_owner(database: Database, endpoint_id: str) -> None:
    """Refuse an id that another tenant uses if the admin has named no tenant: it may be meant."""
    if await database.read(endpoints.named, endpoint_id):
        raise InvalidRequestError.of(
            "tenant_id", "another tenant has an endpoint of this id: say whose you mean"
        )


async def _follow_rate(client: Client, endpoint: WebhookEndpoint, rate: float | None) -> None:
    """Apply a changed rate to deliveries that already wait; ``None``: the endpoint was deleted."""
    try:
        await temporal.override_weights(
            client,
            queues.DELIVERY_QUEUE,
            {endpoint.fairness_key: rate},
            timedelta(seconds=5),
        )
    except temporal.UNREACHABLE:
        return  # new deliveries carry the rate themselves


@router.get("/configs", responses=_COMMON)
async def list_endpoints(
    database: DatabaseDep, settings: SettingsDep, principal: PrincipalDep
) -> list[EndpointView]:
    """The endpoints, oldest first."""
    vault = vault_of(settings.storage)
    rows = await database.read(endpoints.visible, principal.scope)
    return [view(row, vault.open(row.sealed)) for row in rows]


@router.get("/config/{endpoint_id}", responses=_ONE)
async def get_endpoint(endpoint: EndpointDep, settings: SettingsDep) -> EndpointView:
    """One endpoint."""
    return view(endpoint, vault_of(settings.storage).open(endpoint.sealed))


@router.patch("/config/{endpoint_id}", responses=_CHANGE)
async def change_endpoint(
    body: PatchBody,
    endpoint: EndpointDep,
    database: DatabaseDep,
    client: ClientDep,
    settings: SettingsDep,
    principal: PrincipalDep,
) -> EndpointView:
    """Change an endpoint."""

    def edit(endpoint: WebhookEndpoint, sealed: dict[str, Any]) -> None:
        apply(settings.webhooks, endpoint, sealed, body, url=body.url, subscriptions=body.events)

    changed, sealed = await change(database, vault_of(settings.storage), endpoint, edit)
    await _follow_rate(client, changed, changed.rate_limit_per_second)
    hints = await hints_for(database, principal, changed, sealed["secret"])
    return view(changed, sealed, hints=hints)


@router.delete("/config/{endpoint_id}", status_code=HTTPStatus.NO_CONTENT, responses=_ONE)
async def delete_endpoint(endpoint: EndpointDep, database: DatabaseDep, client: ClientDep) -> None:
    """Delete an endpoint; pending deliveries to it end as dead letters."""
    await database.write(endpoints.remove, endpoint.tenant_id, endpoint.id)
    await _follow_rate(client, endpoint, None)


@router.post("/config/{endpoint_id}/rotate-secret", responses=_CHANGE)
async def rotate_secret(
    endpoint: EndpointDep,
    database: DatabaseDep,
    settings: SettingsDep,
    principal: PrincipalDep,
    body: RotateBody | None = None,
) -> EndpointView:
    """Create a new secret, shown once; the old one also signs until ``previous_secret_until``."""
    wanted = body or RotateBody()
    secret = wanted.secret or new_secret()

    def edit(endpoint: WebhookEndpoint, sealed: dict[str, Any]) -> None:
        sealed["previous_secret"], sealed["secret"] = sealed["secret"], secret
        endpoint.previous_secret_until = now() + timedelta(seconds=wanted.keep_old_seconds)

    changed, sealed = await change(database, vault_of(settings.storage), endpoint, edit)
    hints = await hints_for(database, principal, changed, secret)
    return view(changed, sealed, None if wanted.secret else secret, hints)


@router.post("/config/{endpoint_id}/enable", responses=_CHANGE)
async def enable(
    endpoint: EndpointDep,
    database: DatabaseDep,
    client: ClientDep,
    settings: SettingsDep,
    principal: PrincipalDep,
) -> EndpointView:
    """Enable a disabled endpoint; what it missed can be replayed (``POST /retry``)."""
    return await change_endpoint(
        PatchBody(active=True), endpoint, database, client, settings, principal
    )


@router.post("/config/{endpoint_id}/test", responses=_CHANGE)
async def send_test(
    endpoint: EndpointDep, database: DatabaseDep, dispatcher: DispatcherDep
) -> dict[str, Any]:
    """Deliver a real signed test event once, and return the response."""
    if not endpoint.active:
        raise ConflictError("the endpoint is disabled: enable it first")
    event = NewEvent(
        endpoint.tenant_id,
        "webhook.test",
        secrets.token_hex(8),
        {"endpoint_id": endpoint.id, "message": "a test event of PyTake"},
        now(),
    )
    started = await database.write(events.emit, [event], now(), endpoint.id)
    await dispatcher.start(started)
    delivery_id = started[0].delivery_id
    deadline = endpoint.timeout_seconds + 10
    attempts = []
    for _ in range(int(deadline * 10)):
        attempts = await database.read(deliveries.attempts_of, delivery_id)
        if attempts:
            break
        await asyncio.sleep(0.1)
    if not attempts:
        return {
            "success": False,
            "delivery_id": delivery_id,
            "event_id": event.id,
            "error": "no worker has attempted it yet",
        }
    first = attempts[0]
    return {
        "success": first.ok,
        "delivery_id": delivery_id,
        "event_id": event.id,
        "status": first.status,
        "duration_ms": first.duration_ms,
        "headers": first.headers,
        "body": first.body,
        "error": first.error,
    }


@router.get("/event-types", responses=documented(UnauthorizedError))
async def event_types(principal: PrincipalDep) -> list[dict[str, Any]]:
    """Every event type that PyTake emits, with the JSON schema of its ``data``."""
    return [
        {
            "type": kind.value,
            "description": (SCHEMAS[kind].__doc__ or "").strip(),
            "schema": SCHEMAS[kind].model_json_schema(),
        }
        for kind in EventType
    ]
