"""Creating and changing a tenant's endpoints from request bodies."""

import asyncio
import ipaddress
from collections.abc import Callable
from typing import Any, Final

from api.webhooks.schemas import Backoff, EndpointFields
from pytake.clock import now
from pytake.database.engine import Database
from pytake.database.vault import Vault, open_vault
from pytake.problems import ConflictError, InvalidRequestError, NotFoundError, UnavailableError
from pytake.settings import ConfigurationError, StorageSettings, WebhookSettings
from pytake.webhooks import endpoints
from pytake.webhooks.client_certificates import (
    CertificateError,
    ClientCertificate,
    check_certificate,
)
from pytake.webhooks.contracts import endpoint_key
from pytake.webhooks.guard import BlockedUrlError, check_address, check_url, parse_networks
from pytake.webhooks.headers import value_problem
from pytake.webhooks.tables import WebhookEndpoint

Edit = Callable[[WebhookEndpoint, dict[str, Any]], None]
"""Changes an endpoint and its decrypted secrets; runs in a thread, again after a concurrent change."""

_DEFAULT_RETRIES: Final = 8
_DEFAULT_TIMEOUT: Final = 15.0
_DEFAULT_RATE: Final = 20.0
_TRIES: Final = 20
"""Rounds of optimistic locking: in each, one of the concurrent changes succeeds."""
_NEEDED: Final = {
    "BearerToken": ("auth_value",),
    "BasicAuth": ("auth_value",),
    "ApiKey": ("auth_header", "auth_value"),
    "OAuth2": ("oauth2",),
    "mTLS": ("client_certificate", "client_key"),
}
_OF_AUTHENTICATION: Final = {
    "auth_type",
    "auth_value",
    "auth_header",
    "oauth2",
    "client_certificate",
    "client_key",
}


def vault_of(settings: StorageSettings) -> Vault:
    """The vault.

    Raises:
        UnavailableError: no key is configured.
    """
    try:
        return open_vault(settings)
    except ConfigurationError as error:
        raise UnavailableError(str(error)) from None


def check_target(settings: WebhookSettings, field: str, url: str) -> None:
    """Refuse a URL that is not allowed by its text; the address is checked at each connection.

    Raises:
        InvalidRequestError.
    """
    try:
        check_url(url, settings.allowed_ports)
        host = url.split("//", 1)[1].split("/", 1)[0].rsplit("@", 1)[-1]
        host = host[1:].split("]")[0] if host.startswith("[") else host.split(":")[0].split("?")[0]
        try:
            literal = ipaddress.ip_address(host)
        except ValueError:
            return
        check_address(str(literal), parse_networks(settings.allowed_networks))
    except BlockedUrlError as error:
        raise InvalidRequestError.of(field, str(error)) from None


def new_endpoint(
    endpoint_id: str, tenant_id: str, url: str, *, one_off: bool = False
) -> WebhookEndpoint:
    """An endpoint with the defaults."""
    backoff, at = Backoff(), now()
    return WebhookEndpoint(
        id=endpoint_id,
        tenant_id=tenant_id,
        key=endpoint_key(tenant_id, endpoint_id),
        url=url,
        events=[],
        sealed=b"",
        one_off=one_off,
        max_retries=_DEFAULT_RETRIES,
        retry_schedule=[],
        backoff_initial=backoff.initial,
        backoff_factor=backoff.factor,
        backoff_max=backoff.max,
        backoff_jitter=backoff.jitter,
        timeout_seconds=_DEFAULT_TIMEOUT,
        rate_limit_per_second=_DEFAULT_RATE,
        created_at=at,
        updated_at=at,
    )


async def create(
    database: Database, settings: WebhookSettings, endpoint: WebhookEndpoint, field: str
) -> bool:
    """Store a new endpoint; ``False`` if the tenant already has one with that id.

    Raises:
        InvalidRequestError: about ``field``: the tenant's quota of endpoints is used up.
    """
    most, setting = settings.endpoints, "PYTAKE_WEBHOOK_ENDPOINTS"
    if endpoint.one_off:
        most, setting = settings.targets, "PYTAKE_WEBHOOK_TARGETS"
    try:
        return await database.write(endpoints.create, endpoint, most)
    except endpoints.QuotaError:
        what = "target addresses" if endpoint.one_off else "endpoints"
        raise InvalidRequestError.of(
            field,
            f"tenant {endpoint.tenant_id} has {most} {what}, as many as a tenant may have ({setting}): "
            "delete some first (DELETE /api/v1/webhooks/config/{endpoint_id})",
        ) from None


async def change(
    database: Database, vault: Vault, endpoint: WebhookEndpoint, edit: Edit
) -> tuple[WebhookEndpoint, dict[str, Any]]:
    """Change an endpoint with optimistic locking; return it with its decrypted secrets.

    Raises:
        NotFoundError: it was deleted meanwhile.
        ConflictError: there was a concurrent change in every round.
    """
    seen = endpoint
    for _ in range(_TRIES):
        before = seen.model_dump()
        edited, sealed = WebhookEndpoint(**before), vault.open(seen.sealed)
        await asyncio.to_thread(edit, edited, sealed)
        edited.sealed, edited.updated_at = vault.seal(sealed), now()
        after = edited.model_dump()
        values = {name: value for name, value in after.items() if value != before[name]}
        if await database.write(endpoints.change, seen.tenant_id, seen.id, seen.updated_at, values):
            return edited, sealed
        current = await database.read(endpoints.get, seen.tenant_id, seen.id)
        if current is None:
            raise NotFoundError(f"no endpoint {seen.id!r}")
        seen = current
    raise ConflictError("the endpoint is being changed by others at the same time: try again")


def apply(
    settings: WebhookSettings,
    endpoint: WebhookEndpoint,
    sealed: dict[str, Any],
    body: EndpointFields,
    *,
    url: str | None,
    subscriptions: list[str] | None,
) -> None:
    """Set the fields that a body names.

    Raises:
        InvalidRequestError.
    """
    if url is not None:
        check_target(settings, "url", url)
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
        check_target(settings, "oauth2.token_url", body.oauth2.token_url)
        sealed["oauth2"] = body.oauth2.model_dump()
    if body.active is not None:
        endpoint.active = body.active
        endpoint.disabled_reason = None if body.active else "disabled by hand"
        endpoint.disabled_at = None if body.active else now()
        if body.active:
            endpoint.failures, endpoint.failing_since = 0, None
    if body.model_fields_set & _OF_AUTHENTICATION:
        _check_auth(endpoint.auth_type, sealed)


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
