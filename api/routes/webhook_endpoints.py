"""Webhook endpoints: where a tenant's events go, and how."""

import asyncio
import ipaddress
import secrets
from datetime import timedelta
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Response
from temporalio.service import RPCError

from activities.deliver_webhook import plan_of
from api.dependencies import Principal, PrincipalDep, Services, ServicesDep
from api.errors import (
    ConflictError,
    ForbiddenError,
    InvalidRequestError,
    NotFoundError,
    UnauthorizedError,
    UnavailableError,
    documented,
)
from api.webhook_schemas import (
    Backoff,
    ConfigureBody,
    EndpointFields,
    EndpointView,
    PatchBody,
    RotateBody,
)
from pytake import temporal
from pytake.clock import now
from pytake.domain.events import SCHEMAS, EventType
from pytake.settings import ConfigurationError
from pytake.storage import deliveries, endpoints, events
from pytake.storage.events import NewEvent
from pytake.storage.vault import Vault, open_vault
from pytake.storage.webhook_tables import WebhookEndpoint
from pytake.webhooks.client_certificates import (
    CertificateError,
    ClientCertificate,
    check_certificate,
)
from pytake.webhooks.guard import BlockedUrlError, check_address, check_url, parse_networks
from pytake.webhooks.headers import value_problem
from pytake.webhooks.signing import SECRET_PREFIX, new_secret

router = APIRouter(prefix="/api/v1/webhooks", tags=["webhooks"])

_COMMON = documented(UnauthorizedError, InvalidRequestError, UnavailableError)
_ONE = _COMMON | documented(NotFoundError)
_DEFAULT_RETRIES = 8
_DEFAULT_TIMEOUT = 15.0
_DEFAULT_RATE = 20.0


def vault_of(services: Services) -> Vault:
    """The vault.

    Raises:
        UnavailableError: no key is configured.
    """
    try:
        return open_vault(services.settings)
    except ConfigurationError as error:
        raise UnavailableError(str(error)) from None


def check_target(services: Services, field: str, url: str) -> None:
    """Refuse at once what can be told from a URL's text; the address is checked at each connection.

    Raises:
        InvalidRequestError.
    """
    settings = services.settings
    try:
        check_url(url, settings.allowed_ports)
        host = url.split("//", 1)[1].split("/", 1)[0].rsplit("@", 1)[-1]
        host = host[1:].split("]")[0] if host.startswith("[") else host.split(":")[0].split("?")[0]
        try:
            literal = ipaddress.ip_address(host)
        except ValueError:
            return
        check_address(str(literal), parse_networks(settings.webhook_allowed_networks))
    except BlockedUrlError as error:
        raise InvalidRequestError.of(field, str(error)) from None


@router.post(
    "/configure",
    responses=_COMMON | documented(ForbiddenError, NotFoundError) | {201: {"model": EndpointView}},
)
async def configure(
    body: ConfigureBody, response: Response, services: ServicesDep, principal: PrincipalDep
) -> EndpointView:
    """Make an endpoint (201), or update the one of ``id`` (200)."""
    vault = vault_of(services)
    shown: str | None = None
    if body.id is not None and (existing := await services.database.read(endpoints.get, body.id)):
        endpoint = await _owned(principal, existing, body.id)
        sealed = vault.open(endpoint.sealed)
        if body.secret is not None:
            sealed["secret"] = body.secret
    else:
        tenant_id = principal.acting_for(body.tenant_id)
        endpoint = new_endpoint(body.id or f"whe_{secrets.token_hex(10)}", tenant_id, body.url)
        sealed = {"secret": body.secret or new_secret()}
        shown = None if body.secret else sealed["secret"]
        response.status_code = HTTPStatus.CREATED
    _apply(services, endpoint, sealed, body, url=body.url, subscriptions=body.events)
    endpoint.sealed = vault.seal(sealed)
    await services.database.write(endpoints.save, endpoint)
    await _follow_rate(services, endpoint)
    return view(endpoint, sealed, shown)


def new_endpoint(
    endpoint_id: str, tenant_id: str, url: str, *, one_off: bool = False
) -> WebhookEndpoint:
    """An endpoint with the defaults."""
    backoff = Backoff()
    return WebhookEndpoint(
        id=endpoint_id, tenant_id=tenant_id, url=url, events=[], sealed=b"", one_off=one_off,
        max_retries=_DEFAULT_RETRIES, retry_schedule=[], backoff_initial=backoff.initial,
        backoff_factor=backoff.factor, backoff_max=backoff.max, backoff_jitter=backoff.jitter,
        timeout_seconds=_DEFAULT_TIMEOUT, rate_limit_per_second=_DEFAULT_RATE,
        created_at=now(), updated_at=now(),
    )  # fmt: skip


def _apply(
    services: Services,
    endpoint: WebhookEndpoint,
    sealed: dict[str, Any],
    body: EndpointFields,
    *,
    url: str | None,
    subscriptions: list[str] | None,
) -> None:
    """Set the fields that a body names."""
    if url is not None:
        check_target(services, "url", url)
        endpoint.url = url
    if subscriptions is not None:
        endpoint.events = subscriptions
    for name in (
        "description",
        "auth_type",
        "max_retries",
        "timeout_seconds",
        "rate_limit_per_second",
        "ordered",
    ):
        if (value := getattr(body, name)) is not None:
            setattr(endpoint, name, value)
    if body.retry_schedule is not None:
        endpoint.retry_schedule = body.retry_schedule
        if body.max_retries is None and body.retry_schedule:
            endpoint.max_retries = len(body.retry_schedule)
    if body.backoff is not None:
        endpoint.retry_schedule = body.retry_schedule or []
        endpoint.backoff_initial, endpoint.backoff_factor = (
            body.backoff.initial,
            body.backoff.factor,
        )
        endpoint.backoff_max, endpoint.backoff_jitter = body.backoff.max, body.backoff.jitter
    for name in ("auth_value", "auth_header", "client_certificate", "client_key", "custom_headers"):
        if (value := getattr(body, name)) is not None:
            sealed[name] = value
    if body.oauth2 is not None:
        check_target(services, "oauth2.token_url", body.oauth2.token_url)
        sealed["oauth2"] = body.oauth2.model_dump()
    if body.active is not None:
        endpoint.active = body.active
        endpoint.disabled_reason = None if body.active else "disabled by hand"
        endpoint.disabled_at = None if body.active else now()
        if body.active:
            endpoint.failures, endpoint.failing_since = 0, None
    endpoint.updated_at = now()
    if body.model_fields_set & _OF_AUTHENTICATION:
        _check_auth(endpoint.auth_type, sealed)


_NEEDED = {
    "BearerToken": ("auth_value",), "BasicAuth": ("auth_value",), "ApiKey": ("auth_header", "auth_value"),
    "OAuth2": ("oauth2",), "mTLS": ("client_certificate", "client_key"),
}  # fmt: skip
_OF_AUTHENTICATION = {
    "auth_type", "auth_value", "auth_header", "oauth2", "client_certificate", "client_key",
}  # fmt: skip


def _check_auth(auth_type: str, sealed: dict[str, Any]) -> None:
    for name in _NEEDED.get(auth_type, ()):
        if not sealed.get(name):
            raise InvalidRequestError.of(name, f"is required with auth_type {auth_type}")
    if auth_type == "BasicAuth" and ":" not in sealed["auth_value"]:
        raise InvalidRequestError.of("auth_value", "must be user:password with auth_type BasicAuth")
    if auth_type in ("BearerToken", "ApiKey") and (problem := value_problem(sealed["auth_value"])):
        raise InvalidRequestError.of("auth_value", problem)
    if auth_type == "mTLS":
        try:
            check_certificate(ClientCertificate(sealed["client_certificate"], sealed["client_key"]))
        except CertificateError as error:
            raise InvalidRequestError.of(error.field, str(error)) from None


async def _follow_rate(services: Services, endpoint: WebhookEndpoint) -> None:
    """A changed rate applies to what waits already, too."""
    try:
        await temporal.override_weights(
            services.client,
            temporal.DELIVERY_QUEUE,
            {endpoint.id: endpoint.rate_limit_per_second},
            timedelta(seconds=5),
        )
    except RPCError:
        return  # new deliveries carry the rate themselves


@router.get("/configs", responses=_COMMON)
async def list_endpoints(services: ServicesDep, principal: PrincipalDep) -> list[EndpointView]:
    """The endpoints, oldest first."""
    vault = vault_of(services)
    rows = await services.database.read(endpoints.visible, principal.scope)
    return [view(row, vault.open(row.sealed)) for row in rows]


@router.get("/config/{endpoint_id}", responses=_ONE)
async def get_endpoint(
    endpoint_id: str, services: ServicesDep, principal: PrincipalDep
) -> EndpointView:
    """One endpoint."""
    endpoint = await load_endpoint(services, principal, endpoint_id)
    return view(endpoint, vault_of(services).open(endpoint.sealed))


@router.patch("/config/{endpoint_id}", responses=_ONE)
async def change_endpoint(
    endpoint_id: str, body: PatchBody, services: ServicesDep, principal: PrincipalDep
) -> EndpointView:
    """Change an endpoint."""
    vault = vault_of(services)
    endpoint = await load_endpoint(services, principal, endpoint_id)
    sealed = vault.open(endpoint.sealed)
    _apply(services, endpoint, sealed, body, url=body.url, subscriptions=body.events)
    endpoint.sealed = vault.seal(sealed)
    await services.database.write(endpoints.save, endpoint)
    await _follow_rate(services, endpoint)
    return view(endpoint, sealed)


@router.delete("/config/{endpoint_id}", status_code=HTTPStatus.NO_CONTENT, responses=_ONE)
async def delete_endpoint(endpoint_id: str, services: ServicesDep, principal: PrincipalDep) -> None:
    """Delete an endpoint; pending deliveries to it end as dead letters."""
    await load_endpoint(services, principal, endpoint_id)
    await services.database.write(endpoints.remove, endpoint_id)


@router.post("/config/{endpoint_id}/rotate-secret", responses=_ONE)
async def rotate_secret(
    endpoint_id: str, services: ServicesDep, principal: PrincipalDep, body: RotateBody | None = None
) -> EndpointView:
    """A new secret, shown once; the old one signs too until ``previous_secret_until``."""
    wanted = body or RotateBody()
    vault = vault_of(services)
    endpoint = await load_endpoint(services, principal, endpoint_id)
    sealed = vault.open(endpoint.sealed)
    sealed["previous_secret"], sealed["secret"] = sealed["secret"], wanted.secret or new_secret()
    endpoint.previous_secret_until = now() + timedelta(seconds=wanted.keep_old_seconds)
    endpoint.sealed, endpoint.updated_at = vault.seal(sealed), now()
    await services.database.write(endpoints.save, endpoint)
    return view(endpoint, sealed, None if wanted.secret else sealed["secret"])


@router.post("/config/{endpoint_id}/enable", responses=_ONE)
async def enable(endpoint_id: str, services: ServicesDep, principal: PrincipalDep) -> EndpointView:
    """Enable a disabled endpoint; what it missed can be replayed (``POST /retry``)."""
    return await change_endpoint(endpoint_id, PatchBody(active=True), services, principal)


@router.post("/config/{endpoint_id}/test", responses=_ONE | documented(ConflictError))
async def send_test(
    endpoint_id: str, services: ServicesDep, principal: PrincipalDep
) -> dict[str, Any]:
    """Deliver a real signed test event once, and return what came back."""
    endpoint = await load_endpoint(services, principal, endpoint_id)
    if not endpoint.active:
        raise ConflictError("the endpoint is disabled: enable it first")
    event = NewEvent(
        endpoint.tenant_id, "webhook.test", secrets.token_hex(8),
        {"endpoint_id": endpoint.id, "message": "a test event of PyTake"}, now(),
    )  # fmt: skip
    started = await services.database.write(events.emit, [event], now(), endpoint.id)
    await services.dispatcher.start(started)
    delivery_id = started[0].delivery_id
    deadline = endpoint.timeout_seconds + 10
    attempts = []
    for _ in range(int(deadline * 10)):
        attempts = await services.database.read(deliveries.attempts_of, delivery_id)
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
        "success": first.ok, "delivery_id": delivery_id, "event_id": event.id, "status": first.status,
        "duration_ms": first.duration_ms, "headers": first.headers, "body": first.body, "error": first.error,
    }  # fmt: skip


@router.get("/event-types", responses=documented(UnauthorizedError))
async def event_types(principal: PrincipalDep) -> list[dict[str, Any]]:
    """Every type that PyTake raises, with the JSON schema of its ``data``."""
    return [
        {
            "type": kind.value,
            "description": (SCHEMAS[kind].__doc__ or "").strip(),
            "schema": SCHEMAS[kind].model_json_schema(),
        }
        for kind in EventType
    ]


async def load_endpoint(
    services: Services, principal: Principal, endpoint_id: str
) -> WebhookEndpoint:
    """The endpoint of an id.

    Raises:
        NotFoundError: it is not there, or another tenant's.
    """
    return await _owned(
        principal, await services.database.read(endpoints.get, endpoint_id[:64]), endpoint_id
    )


async def _owned(
    principal: Principal, endpoint: WebhookEndpoint | None, endpoint_id: str
) -> WebhookEndpoint:
    if endpoint is None or not principal.sees(endpoint.tenant_id):
        raise NotFoundError(f"no endpoint {endpoint_id[:64]!r}")
    return endpoint


def view(
    endpoint: WebhookEndpoint, sealed: dict[str, Any], shown: str | None = None
) -> EndpointView:
    """The endpoint with its secrets masked; ``shown`` is a secret to show this once."""
    oauth2 = sealed.get("oauth2")
    plan = plan_of(endpoint)
    return EndpointView.model_validate(
        {
            **endpoint.model_dump(),
            "secret": shown or mask(sealed["secret"]),
            "auth_value": mask(sealed["auth_value"]) if sealed.get("auth_value") else None,
            "auth_header": sealed.get("auth_header"),
            "oauth2": {**oauth2, "client_secret": mask(oauth2["client_secret"])} if oauth2 else None,
            "custom_headers": {name: mask(value) for name, value in sealed.get("custom_headers", {}).items()},
            "retry_schedule": list(plan.schedule) or None,
            "backoff": None if plan.schedule else Backoff(initial=plan.initial, factor=plan.factor, max=plan.maximum, jitter=plan.jitter),
            "consecutive_failures": endpoint.failures,
        }
    )  # fmt: skip


def mask(secret: str) -> str:
    """Enough of a secret to recognise it, not to use it."""
    prefix = SECRET_PREFIX if secret.startswith(SECRET_PREFIX) else ""
    tail = secret[-4:] if len(secret) >= 16 else ""
    return f"{prefix}****{tail}"
