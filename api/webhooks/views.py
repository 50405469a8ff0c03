"""Views of endpoints: secrets masked, with hints about surprising configurations."""

from typing import Any

from api.webhooks.schemas import Backoff, EndpointView
from pytake.access.principals import Principal
from pytake.database.engine import Database
from pytake.messages import traffic
from pytake.tenants import DEFAULT_TENANT
from pytake.webhooks.policies import retry_policy_of
from pytake.webhooks.signing import SECRET_PREFIX, is_standard
from pytake.webhooks.tables import WebhookEndpoint


def view(
    endpoint: WebhookEndpoint,
    sealed: dict[str, Any],
    shown: str | None = None,
    hints: list[str] | None = None,
) -> EndpointView:
    """The endpoint with its secrets masked; ``shown`` is a secret to include this once."""
    oauth2 = sealed.get("oauth2")
    plan = retry_policy_of(endpoint)
    return EndpointView.model_validate(
        {
            **endpoint.model_dump(),
            "secret": shown or mask(sealed["secret"]),
            "auth_value": mask(sealed["auth_value"]) if sealed.get("auth_value") else None,
            "auth_header": sealed.get("auth_header"),
            "oauth2": {**oauth2, "client_secret": mask(oauth2["client_secret"])}
            if oauth2
            else None,
            "custom_headers": {
                name: mask(value) for name, value in sealed.get("custom_headers", {}).items()
            },
            "retry_schedule": list(plan.schedule) or None,
            "backoff": None
            if plan.schedule
            else Backoff(
                initial=plan.initial, factor=plan.factor, max=plan.maximum, jitter=plan.jitter
            ),
            "consecutive_failures": endpoint.failures,
            "hints": hints or [],
        }
    )


def mask(secret: str) -> str:
    """Enough of a secret to recognise it, not to use it."""
    prefix = SECRET_PREFIX if secret.startswith(SECRET_PREFIX) else ""
    tail = secret[-4:] if len(secret) >= 16 else ""
    return f"{prefix}****{tail}"


async def hints_for(
    database: Database, principal: Principal, endpoint: WebhookEndpoint, secret: str
) -> list[str]:
    """Sentences that the owner of an endpoint should see after setting it."""
    hints = []
    if not is_standard(secret):
        hints.append(
            "The secret is not of the Standard Webhooks form (whsec_ and base64 of 24 to 64 bytes): their "
            "libraries would decode it and take every event for a forgery. Give them its UTF-8 bytes as the "
            "key (README: Webhooks to your systems), or let PyTake make one: rotate-secret without a secret."
        )
    tenant_id = endpoint.tenant_id
    if tenant_id != DEFAULT_TENANT and not await database.read(traffic.may_have_traffic, tenant_id):
        hints.append(
            f"Nothing will come: tenant {tenant_id} has neither an API key nor a number, so no message is sent "
            f"or received for it. Make a key (pytake key create --tenant {tenant_id}) or add a number (pytake "
            f"number add ... --tenant {tenant_id}), name this tenant_id in what you send, or configure the "
            f"webhook for tenant {principal.tenant_id}."
        )
    return hints
