"""Shorthands for tenants' webhooks."""

import itertools
import time
from typing import Any

from sqlalchemy import select
from sqlmodel import Session, col

from pytake.database.vault import open_vault
from pytake.webhooks.tables import WebhookEndpoint
from tests.stack import Stack, eventually

CONFIGURE = {
    "tenant_id": "tenant1",
    "url": "https://seu-sistema.com/webhook",
    "secret": "seu-secret-seguro",
    "events": ["message.received", "message.sent"],
    "auth_type": "BearerToken",
    "auth_value": "seu-token",
    "max_retries": 5,
    "timeout_seconds": 30,
}
_names = itertools.count()


def tenant() -> str:
    return f"tenant-{time.time_ns()}-{next(_names)}"


async def configure(stack: Stack, tenant_id: str, url: str, **changes: Any) -> dict[str, Any]:
    body = {
        "tenant_id": tenant_id,
        "url": url,
        "events": ["*"],
        "retry_schedule": [0.2],
        "max_retries": 4,
        "timeout_seconds": 2,
        "rate_limit_per_second": 200,
    }
    response = await stack.api.post("/api/v1/webhooks/configure", json={**body, **changes})
    assert response.status_code == 201, response.text
    made: dict[str, Any] = response.json()
    return made


async def send(
    stack: Stack, tenant_id: str, event_type: str = "order.shipped", **changes: Any
) -> dict[str, Any]:
    body = {
        "tenant_id": tenant_id,
        "event_type": event_type,
        "payload": {"pedido": "ção 🎉"},
        **changes,
    }
    response = await stack.api.post("/api/v1/webhooks/send", json=body)
    assert response.status_code == 202, response.text
    sent: dict[str, Any] = response.json()
    return sent


async def delivery(stack: Stack, delivery_id: str) -> dict[str, Any]:
    response = await stack.api.get(f"/api/v1/webhooks/delivery/{delivery_id}")
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


async def until(stack: Stack, delivery_id: str, status: str, seconds: float = 30) -> dict[str, Any]:
    view: dict[str, Any] = {}

    async def reached() -> bool:
        view.update(await delivery(stack, delivery_id))
        return bool(view["status"] == status)

    await eventually(reached, seconds, lambda: f"not {status}: {view}")
    return view


async def store(stack: Stack, endpoint_id: str, sealed: dict[str, Any], **columns: Any) -> None:
    """Write values into an endpoint's row that the API would refuse, as an earlier version may have."""
    vault = open_vault(stack.settings.storage)

    def write(session: Session) -> None:
        row = session.scalars(
            select(WebhookEndpoint).where(col(WebhookEndpoint.id) == endpoint_id)
        ).one()
        row.sealed = vault.seal({**vault.open(row.sealed), **sealed})
        for name, value in columns.items():
            setattr(row, name, value)
        session.add(row)

    await stack.database.write(write)
