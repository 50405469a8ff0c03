"""Contacts who asked for no more marketing messages."""

from datetime import datetime
from typing import Any, Final

from sqlalchemy import delete, select, update
from sqlmodel import Session, col

from pytake.contacts.tables import OptOut
from pytake.database.upsert import insert_into
from pytake.templates.store import MARKETING
from pytake.templates.tables import MetaTemplate
from pytake.webhooks.contracts import DeliveryInput
from pytake.webhooks.event_types import ContactEvent, EventType, TemplateEvent
from pytake.webhooks.events import NewEvent, emit
from pytake.webhooks.ordering import conversation_of

_STATUS_OF_EVENT: Final = {
    "REINSTATED": "APPROVED",
    "FLAGGED": "APPROVED",
    "UNARCHIVED": "APPROVED",
}
"""Callback events whose name differs from the template status that they result in."""


def opt_out(
    session: Session,
    tenant_id: str,
    contact_key: str,
    now: datetime,
    *,
    phone_number_id: str,
    source: str,
    detail: str = "",
) -> list[DeliveryInput] | None:
    """Record an opt-out and emit its event; ``None`` if the contact had already opted out."""
    created = session.execute(
        insert_into(session, OptOut)
        .values(tenant_id=tenant_id, contact_key=contact_key, at=now, source=source, detail=detail)
        .on_conflict_do_nothing()
        .returning(OptOut.contact_key)
    ).first()
    if created is None:
        return None
    return _emit(
        session, EventType.CONTACT_OPTED_OUT, tenant_id, contact_key, now, phone_number_id, detail
    )


def opt_in(
    session: Session,
    tenant_id: str,
    contact_key: str,
    now: datetime,
    *,
    phone_number_id: str,
    detail: str = "",
) -> list[DeliveryInput] | None:
    """End an opt-out and emit its event; ``None`` if there was none."""
    ended = session.execute(
        delete(OptOut)
        .where(col(OptOut.tenant_id) == tenant_id, col(OptOut.contact_key) == contact_key)
        .returning(col(OptOut.contact_key))
    ).first()
    if ended is None:
        return None
    return _emit(
        session, EventType.CONTACT_OPTED_IN, tenant_id, contact_key, now, phone_number_id, detail
    )


def get(session: Session, tenant_id: str, contact_key: str) -> OptOut | None:
    """The contact's opt-out."""
    return session.get(OptOut, (tenant_id, contact_key))


def has_any(session: Session, tenant_id: str) -> bool:
    """Whether any contact of the tenant opted out."""
    statement = select(col(OptOut.contact_key)).where(col(OptOut.tenant_id) == tenant_id)
    return session.scalars(statement.limit(1)).first() is not None


def opted_out_among(session: Session, contact_keys: set[str]) -> set[tuple[str, str]]:
    """The opt-outs among these contacts, as (tenant, contact) pairs."""
    if not contact_keys:
        return set()
    rows = session.execute(
        select(col(OptOut.tenant_id), col(OptOut.contact_key)).where(
            col(OptOut.contact_key).in_(contact_keys)
        )
    )
    return {(tenant, contact) for tenant, contact in rows}


def refuses(session: Session, tenant_id: str, contact_key: str, template: str) -> bool:
    """Whether the contact opted out and the template is known to be marketing."""
    if session.get(OptOut, (tenant_id, contact_key)) is None:
        return False
    categories = session.scalars(
        select(col(MetaTemplate.category)).where(col(MetaTemplate.name) == template)
    ).all()
    return bool(categories) and all(category == MARKETING for category in categories)


def apply_template_change(
    session: Session, portfolio_id: str | None, change: TemplateEvent, kind: EventType
) -> None:
    """Apply a template change from Meta's callback, unless the stored state is newer."""
    if change.after is None or change.impending:
        return
    values: dict[str, Any] = {}
    if kind is EventType.TEMPLATE_CATEGORY_CHANGED:
        values = {"category": change.after.upper(), "known_at": change.at}
    elif kind is EventType.TEMPLATE_QUALITY_CHANGED:
        values = {"quality": change.after}
    elif kind is EventType.TEMPLATE_STATUS_CHANGED:
        values = {"status": _STATUS_OF_EVENT.get(change.after, change.after)}
    conditions = [
        col(MetaTemplate.portfolio_id) == portfolio_id,
        col(MetaTemplate.name) == change.name,
        col(MetaTemplate.known_at) <= change.at,
    ]
    if change.language is not None:
        conditions.append(col(MetaTemplate.language) == change.language)
    session.execute(update(MetaTemplate).where(*conditions).values(**values))


def _emit(
    session: Session,
    kind: EventType,
    tenant_id: str,
    contact_key: str,
    now: datetime,
    phone_number_id: str,
    detail: str,
) -> list[DeliveryInput]:
    data = ContactEvent(phone_number_id=phone_number_id, contact=contact_key, at=now, detail=detail)
    event = NewEvent(
        tenant_id,
        kind.value,
        f"{contact_key}:{now.isoformat()}",
        data.model_dump(mode="json"),
        now,
        conversation_of(phone_number_id, contact_key),
    )
    return emit(session, [event], now)
