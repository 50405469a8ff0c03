"""Tenants' endpoints."""

from sqlalchemy import delete, select
from sqlmodel import Session, col

from pytake.storage.vault import Vault
from pytake.storage.webhook_tables import WebhookEndpoint


def save(session: Session, endpoint: WebhookEndpoint) -> None:
    """Insert or update."""
    session.merge(endpoint)


def get(session: Session, endpoint_id: str) -> WebhookEndpoint | None:
    """The endpoint of an id."""
    return session.get(WebhookEndpoint, endpoint_id)


def visible(session: Session, tenant_id: str | None) -> list[WebhookEndpoint]:
    """A tenant's endpoints (``None``: all), oldest first; those of one-off targets excluded."""
    statement = (
        select(WebhookEndpoint)
        .where(col(WebhookEndpoint.one_off).is_(False))
        .order_by(col(WebhookEndpoint.created_at), col(WebhookEndpoint.id))
    )
    if tenant_id is not None:
        statement = statement.where(col(WebhookEndpoint.tenant_id) == tenant_id)
    return list(session.scalars(statement))


def one_off(session: Session, tenant_id: str, url: str) -> WebhookEndpoint | None:
    """The endpoint that an earlier ``target_url`` made."""
    return session.scalars(
        select(WebhookEndpoint).where(
            col(WebhookEndpoint.tenant_id) == tenant_id,
            col(WebhookEndpoint.url) == url,
            col(WebhookEndpoint.one_off).is_(True),
        )
    ).first()


def remove(session: Session, endpoint_id: str) -> None:
    """Delete an endpoint; its deliveries stay for the record, pending ones end as dead letters."""
    session.execute(delete(WebhookEndpoint).where(col(WebhookEndpoint.id) == endpoint_id))


def reseal(session: Session, vault: Vault) -> int:
    """Encrypt everything with the first key; returns how many endpoints there are."""
    rows = list(session.scalars(select(WebhookEndpoint)))
    for row in rows:
        row.sealed = vault.seal(vault.open(row.sealed))
        session.add(row)
    return len(rows)
