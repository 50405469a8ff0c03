"""Rules and business hours of tenants."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import func, select, update
from sqlmodel import Session, col

from pytake.domain.autoresponder.default_rules import DEFAULT_RULES
from pytake.domain.autoresponder.hours import BusinessHours
from pytake.domain.autoresponder.matching import RuleBook
from pytake.domain.autoresponder.rules import Rule, RuleFields
from pytake.storage.messages import insert_into
from pytake.storage.responder_tables import BusinessHoursRow, Responder, ResponderRule


def install(session: Session, tenant_id: str, now: datetime, *, defaults: bool) -> None:
    """Set the tenant's auto-responder up, once; with the starting set if ``defaults``."""
    made = session.execute(
        insert_into(session, Responder)
        .values(tenant_id=tenant_id, revision=1, installed_at=now)
        .on_conflict_do_nothing()
        .returning(Responder.tenant_id)
    ).first()
    if made is None or not defaults:
        return
    for fields in DEFAULT_RULES:
        body = RuleFields.model_validate({k: v for k, v in fields.items() if k != "id"})
        save(session, tenant_id, fields["id"], body, now)


def installed(session: Session, tenant_id: str) -> bool:
    """Whether :func:`install` has been here."""
    return session.get(Responder, tenant_id) is not None


def get(session: Session, tenant_id: str, rule_id: str) -> Rule | None:
    """A rule."""
    row = session.get(ResponderRule, (tenant_id, rule_id))
    return _rule(row) if row else None


def list_all(session: Session, tenant_id: str) -> list[Rule]:
    """A tenant's rules, in the order of their priority, then oldest first."""
    rows = session.scalars(select(ResponderRule).where(col(ResponderRule.tenant_id) == tenant_id))
    rules = [_rule(row) for row in rows]
    return sorted(rules, key=lambda rule: (-rule.priority, rule.created_at, rule.id))


def count(session: Session, tenant_id: str) -> int:
    """How many rules a tenant has."""
    statement = select(func.count()).where(col(ResponderRule.tenant_id) == tenant_id)
    return session.scalars(statement).one()


def save(session: Session, tenant_id: str, rule_id: str, fields: RuleFields, now: datetime) -> Rule:
    """Make or replace a rule; its age stays."""
    row = session.get(ResponderRule, (tenant_id, rule_id))
    if row is None:
        row = ResponderRule(
            tenant_id=tenant_id, id=rule_id, body={}, created_at=now, updated_at=now
        )
    row.body = RuleFields.model_validate(fields.model_dump(include=set(RuleFields.model_fields))).model_dump(
        mode="json", exclude_none=True
    )  # fmt: skip
    row.updated_at = now
    session.add(row)
    _changed(session, tenant_id)
    return _rule(row)


def create(
    session: Session, tenant_id: str, rule_id: str, fields: RuleFields, now: datetime
) -> Rule | None:
    """Make a rule; ``None`` if there is one of this id."""
    if session.get(ResponderRule, (tenant_id, rule_id)) is not None:
        return None
    return save(session, tenant_id, rule_id, fields, now)


def toggle(
    session: Session, tenant_id: str, rule_id: str, active: bool | None, now: datetime
) -> Rule | None:
    """Switch a rule on or off, or (``active`` not given) over."""
    rule = get(session, tenant_id, rule_id)
    if rule is None:
        return None
    wanted = (not rule.active) if active is None else active
    return save(session, tenant_id, rule_id, rule.model_copy(update={"active": wanted}), now)


def delete(session: Session, tenant_id: str, rule_id: str) -> bool:
    """Delete a rule; whether there was one."""
    row = session.get(ResponderRule, (tenant_id, rule_id))
    if row is None:
        return False
    session.delete(row)
    _changed(session, tenant_id)
    return True


def _changed(session: Session, tenant_id: str) -> None:
    session.execute(
        update(Responder)
        .where(col(Responder.tenant_id) == tenant_id)
        .values(revision=Responder.revision + 1)
    )


def _rule(row: ResponderRule) -> Rule:
    return Rule.model_validate({**row.body, "id": row.id, "created_at": row.created_at})


class Books:
    """Compiled rules of tenants; compiled anew when their revision changed."""

    def __init__(self) -> None:
        self._books: dict[str, tuple[int, RuleBook]] = {}

    def load(self, session: Session, tenant_id: str) -> RuleBook:
        """The tenant's rules as they are now."""
        responder = session.get(Responder, tenant_id)
        revision = responder.revision if responder else 0
        cached = self._books.get(tenant_id)
        if cached is None or cached[0] != revision:
            cached = (revision, RuleBook(list_all(session, tenant_id)))
            self._books[tenant_id] = cached
        return cached[1]


def hours_of(session: Session, tenant_id: str, phone_number_id: str) -> BusinessHours:
    """The hours of a number: its own, else its tenant's, else the default."""
    for number in (phone_number_id, ""):
        if (body := hours_body(session, tenant_id, number)) is not None:
            return BusinessHours.model_validate(body)
    return BusinessHours()


def hours_body(session: Session, tenant_id: str, phone_number_id: str) -> Mapping[str, Any] | None:
    """What was set for a number (``""``: for all), as it was set."""
    row = session.get(BusinessHoursRow, (tenant_id, phone_number_id))
    return row.body if row else None


def save_hours(
    session: Session, tenant_id: str, phone_number_id: str, hours: BusinessHours, now: datetime
) -> None:
    """Set the hours of a number, or (number ``""``) of all that have none of their own."""
    row = session.get(BusinessHoursRow, (tenant_id, phone_number_id)) or BusinessHoursRow(
        tenant_id=tenant_id, phone_number_id=phone_number_id, body={}, updated_at=now
    )
    row.body = hours.model_dump(mode="json")
    row.updated_at = now
    session.add(row)
