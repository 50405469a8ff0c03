"""Tenants' rules and business hours in the database."""

import threading
from collections import OrderedDict
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from sqlalchemy import func, select, update
from sqlmodel import Session, col

from pytake.conversations.rules.budget import Weight, left_out, weigh
from pytake.conversations.rules.default_rules import DEFAULT_RULES
from pytake.conversations.rules.hours import BusinessHours
from pytake.conversations.rules.matching import RuleBook
from pytake.conversations.rules.rules import Rule, RuleFields
from pytake.conversations.tables import BusinessHoursRow, Responder, ResponderRule
from pytake.database.upsert import insert_into


def install(session: Session, tenant_id: str, now: datetime, *, defaults: bool) -> None:
    """Set up the tenant's auto-responder, once; with the default rules if ``defaults``."""
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
    """Whether the tenant's auto-responder is set up (:func:`install`)."""
    return session.get(Responder, tenant_id) is not None


def get(session: Session, tenant_id: str, rule_id: str) -> Rule | None:
    """A rule."""
    row = session.get(ResponderRule, (tenant_id, rule_id))
    return _rule(row) if row else None


def list_all(session: Session, tenant_id: str) -> list[Rule]:
    """A tenant's rules, highest priority first, then oldest first."""
    rows = session.scalars(select(ResponderRule).where(col(ResponderRule.tenant_id) == tenant_id))
    rules = [_rule(row) for row in rows]
    return sorted(rules, key=lambda rule: (-rule.priority, rule.created_at, rule.id))


def count(session: Session, tenant_id: str) -> int:
    """How many rules a tenant has."""
    statement = select(func.count()).where(col(ResponderRule.tenant_id) == tenant_id)
    return session.scalars(statement).one()


class TooMuchError(Exception):
    """The tenant's rules would exceed its limits; nothing was saved.

    ``field`` is the field to change; ``None`` if there are too many rules.
    """

    def __init__(self, field: str | None, message: str) -> None:
        super().__init__(message)
        self.field = field


def save(
    session: Session,
    tenant_id: str,
    rule_id: str,
    fields: RuleFields,
    now: datetime,
    *,
    most: int | None = None,
) -> Rule:
    """Create or replace a rule, keeping its creation time. With ``most``, at most that many rules are
    allowed, and the limits on their weight apply.

    Raises:
        TooMuchError: only with ``most``.
    """
    _bump_revision(session, tenant_id)  # first: serialises concurrent saves for a tenant
    weight = weigh(fields)
    row = session.get(ResponderRule, (tenant_id, rule_id))
    if most is not None:
        _check_limits(session, tenant_id, rule_id, row, weight, most)
    if row is None:
        row = ResponderRule(
            tenant_id=tenant_id, id=rule_id, body={}, created_at=now, updated_at=now
        )
    row.body = RuleFields.model_validate(
        fields.model_dump(include=set(RuleFields.model_fields))
    ).model_dump(mode="json", exclude_none=True)
    row.updated_at = now
    _set_weight(row, weight)
    session.add(row)
    return _rule(row)


def _check_limits(
    session: Session,
    tenant_id: str,
    rule_id: str,
    row: ResponderRule | None,
    weight: Weight,
    most: int,
) -> None:
    """Refuse a change that takes the tenant's rules over a limit; one that reduces them is allowed."""
    if row is None and count(session, tenant_id) >= most:
        raise TooMuchError(None, f"a tenant has at most {most} rules: delete some first")
    mine = col(ResponderRule.tenant_id) == tenant_id
    for uncounted in session.scalars(
        select(ResponderRule).where(mine, col(ResponderRule.words).is_(None))
    ):
        _set_weight(uncounted, weigh(_rule(uncounted)))
        session.add(uncounted)
    session.flush()
    others = _total(session, tenant_id, but=rule_id)
    before = (
        Weight(row.words or 0, row.word_bytes or 0, row.pattern_size or 0, row.body_bytes or 0)
        if row
        else Weight()
    )
    problem = others.excess(weight, before)
    if problem is not None:
        raise TooMuchError(*problem)


def _total(session: Session, tenant_id: str, but: str = "") -> Weight:
    """The total weight of the tenant's weighed rules, except rule ``but``."""
    columns = (
        ResponderRule.words,
        ResponderRule.word_bytes,
        ResponderRule.pattern_size,
        ResponderRule.body_bytes,
    )
    sums = session.execute(
        select(*(func.coalesce(func.sum(col(column)), 0) for column in columns)).where(
            col(ResponderRule.tenant_id) == tenant_id, col(ResponderRule.id) != but
        )
    ).one()
    return Weight(*map(int, sums))


def problems(session: Session, tenant_id: str) -> dict[str, str]:
    """Active rules that are left out for exceeding a limit, by id, each with the reason."""
    uncounted = select(col(ResponderRule.id)).where(
        col(ResponderRule.tenant_id) == tenant_id, col(ResponderRule.words).is_(None)
    )
    counted = session.scalars(uncounted.limit(1)).first() is None
    if counted and Weight().excess(_total(session, tenant_id)) is None:
        return {}
    return left_out(list_all(session, tenant_id))


def _set_weight(row: ResponderRule, weight: Weight) -> None:
    row.words, row.word_bytes = weight.words, weight.word_bytes
    row.pattern_size, row.body_bytes = weight.pattern_size, weight.body_bytes


def create(
    session: Session, tenant_id: str, rule_id: str, fields: RuleFields, now: datetime, *, most: int
) -> Rule | None:
    """Create a rule; ``None`` if the id is taken.

    Raises:
        TooMuchError: the tenant's rules would exceed its limits.
    """
    session.get(Responder, tenant_id, with_for_update=True)  # serialises creates of the same id
    if session.get(ResponderRule, (tenant_id, rule_id)) is not None:
        return None
    return save(session, tenant_id, rule_id, fields, now, most=most)


def toggle(
    session: Session, tenant_id: str, rule_id: str, active: bool | None, now: datetime
) -> Rule | None:
    """Switch a rule on or off; toggle it if ``active`` is ``None``."""
    rule = get(session, tenant_id, rule_id)
    if rule is None:
        return None
    wanted = (not rule.active) if active is None else active
    return save(session, tenant_id, rule_id, rule.model_copy(update={"active": wanted}), now)


def delete(session: Session, tenant_id: str, rule_id: str) -> bool:
    """Delete a rule; returns whether it existed."""
    row = session.get(ResponderRule, (tenant_id, rule_id))
    if row is None:
        return False
    session.delete(row)
    _bump_revision(session, tenant_id)
    return True


def _bump_revision(session: Session, tenant_id: str) -> None:
    session.execute(
        update(Responder)
        .where(col(Responder.tenant_id) == tenant_id)
        .values(revision=Responder.revision + 1)
    )


def _rule(row: ResponderRule) -> Rule:
    return Rule.model_validate({**row.body, "id": row.id, "created_at": row.created_at})


def revision(session: Session, tenant_id: str) -> int:
    """The revision of the tenant's rules: counts their changes; 0 if not installed."""
    responder = session.get(Responder, tenant_id)
    return responder.revision if responder else 0


_BOOKS_BYTES: Final = 128 << 20


class Books:
    """LRU cache of tenants' rules, reloaded when their revision changes."""

    def __init__(self, most_bytes: int = _BOOKS_BYTES) -> None:
        self._most = most_bytes
        self._books: OrderedDict[str, RuleBook] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()

    def load(self, session: Session, tenant_id: str) -> RuleBook:
        """The tenant's current rules."""
        current = revision(session, tenant_id)
        with self._lock:
            book = self._books.get(tenant_id)
            if book is not None and book.revision == current:
                self._books.move_to_end(tenant_id)
                return book
        book = RuleBook(list_all(session, tenant_id), current)
        with self._lock:
            self._keep(tenant_id, book)
        return book

    def _keep(self, tenant_id: str, book: RuleBook) -> None:
        before = self._books.pop(tenant_id, None)
        self._size += book.size - (before.size if before else 0)
        self._books[tenant_id] = book
        while self._size > self._most and len(self._books) > 1:
            _, oldest = self._books.popitem(last=False)
            self._size -= oldest.size


def hours_of(session: Session, tenant_id: str, phone_number_id: str) -> BusinessHours:
    """The hours of a number: its own, else its tenant's, else the default."""
    rows = session.scalars(
        select(BusinessHoursRow)
        .where(
            col(BusinessHoursRow.tenant_id) == tenant_id,
            col(BusinessHoursRow.phone_number_id).in_((phone_number_id, "")),
        )
        .order_by(col(BusinessHoursRow.phone_number_id).desc())
    )
    row = rows.first()
    return BusinessHours.model_validate(row.body) if row else BusinessHours()


def hours_body(session: Session, tenant_id: str, phone_number_id: str) -> Mapping[str, Any] | None:
    """The hours set for a number (``""``: for all), as stored; ``None`` if none are set."""
    row = session.get(BusinessHoursRow, (tenant_id, phone_number_id))
    return row.body if row else None


def save_hours(
    session: Session, tenant_id: str, phone_number_id: str, hours: BusinessHours, now: datetime
) -> None:
    """Set the hours of a number; number ``""`` sets those of all numbers without their own."""
    row = session.get(BusinessHoursRow, (tenant_id, phone_number_id)) or BusinessHoursRow(
        tenant_id=tenant_id, phone_number_id=phone_number_id, body={}, updated_at=now
    )
    row.body = hours.model_dump(mode="json")
    row.updated_at = now
    session.add(row)
