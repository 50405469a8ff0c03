"""Webhook endpoints in the database."""

from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, select, text
from sqlmodel import Session, col

from pytake.database.upsert import insert_into
from pytake.database.vault import Vault
from pytake.webhooks.tables import WebhookEndpoint


class QuotaError(Exception):
    """The tenant has reached its limit of endpoints."""


def create(session: Session, endpoint: WebhookEndpoint, most: int = 0) -> bool:
    """Insert an endpoint unless the tenant already has one with that id; returns whether it was inserted.

    Raises:
        QuotaError: the tenant already has ``most`` of its kind (one-off or not); 0 means no limit.
    """
    if get(session, endpoint.tenant_id, endpoint.id) is not None:
        return False
    if most:
        _serialise(session, endpoint.tenant_id)
        statement = select(func.count()).select_from(WebhookEndpoint)
        statement = statement.where(
            col(WebhookEndpoint.tenant_id) == endpoint.tenant_id,
            col(WebhookEndpoint.one_off).is_(endpoint.one_off),
        )
        if session.scalars(statement).one() >= most:
            raise QuotaError
    inserted = session.execute(
        insert_into(session, WebhookEndpoint)
        .values(**endpoint.model_dump())
        .on_conflict_do_nothing()
        .returning(WebhookEndpoint.id)
    ).first()
    return inserted is not None


def _serialise(session: Session, tenant_id: str) -> None:
    """Serialise counting and inserting per tenant; SQLite has a single writer anyway."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(
            text("SELECT pg_advisory_xact_lock(hashtextextended(:tenant, 6))"),
            {"tenant": tenant_id},
        )


def change(
    session: Session, tenant_id: str, endpoint_id: str, seen: datetime, values: dict[str, Any]
) -> bool:
    """Set columns of an endpoint, unless it is gone or was changed since it was read with ``updated_at``
    ``seen``; returns whether it was set.
    """
    endpoint = get(session, tenant_id, endpoint_id, lock=True)
    if endpoint is None or endpoint.updated_at != seen:
        return False
    for name, value in values.items():
        setattr(endpoint, name, value)
    session.add(endpoint)
    return True


def get(
    session: Session, tenant_id: str, endpoint_id: str, *, lock: bool = False
) -> WebhookEndpoint | None:
    """A tenant's endpoint."""
    return session.get(
        WebhookEndpoint, {"id": endpoint_id, "tenant_id": tenant_id}, with_for_update=lock or None
    )


def named(session: Session, endpoint_id: str) -> list[WebhookEndpoint]:
    """The endpoints with an id, of any tenant."""
    return list(
        session.scalars(select(WebhookEndpoint).where(col(WebhookEndpoint.id) == endpoint_id))
    )


def visible(session: Session, tenant_id: str | None) -> list[WebhookEndpoint]:
    """A tenant's endpoints (``None``: all), oldest first, without one-off endpoints."""
    statement = (
        select(WebhookEndpoint)
        .where(col(WebhookEndpoint.one_off).is_(False))
        .order_by(col(WebhookEndpoint.created_at), col(WebhookEndpoint.id))
    )
    if tenant_id is not None:
        statement = statement.where(col(WebhookEndpoint.tenant_id) == tenant_id)
    return list(session.scalars(statement))


def one_off(session: Session, tenant_id: str, url: str) -> WebhookEndpoint | None:
    """The one-off endpoint created for the same ``target_url`` earlier."""
    return session.scalars(
        select(WebhookEndpoint).where(
            col(WebhookEndpoint.tenant_id) == tenant_id,
            col(WebhookEndpoint.url) == url,
            col(WebhookEndpoint.one_off).is_(True),
        )
    ).first()


def remove(session: Session, tenant_id: str, endpoint_id: str) -> None:
    """Delete an endpoint. Its deliveries are kept; pending ones end as dead letters."""
    session.execute(
        delete(WebhookEndpoint).where(
            col(WebhookEndpoint.id) == endpoint_id, col(WebhookEndpoint.tenant_id) == tenant_id
        )
    )


def reseal(session: Session, vault: Vault) -> int:
    """Re-encrypt all endpoints' secrets with the first key; returns how many endpoints there are."""
    rows = list(session.scalars(select(WebhookEndpoint)))
    for row in rows:
        row.sealed = vault.seal(vault.open(row.sealed))
        session.add(row)
    return len(rows)
