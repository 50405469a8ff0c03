"""Who owns a number, and who else may send from it.

Each change is one transaction on the number's locked row; it checks the owner first, and changes
only what was given.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, select
from sqlmodel import Session, col

from pytake.database.upsert import insert_into
from pytake.numbers import store as numbers
from pytake.numbers.senders import INSTALLATION, Sender, Senders
from pytake.numbers.states import NumberState
from pytake.numbers.tables import NumberShare, PhoneNumber

_shared = (col(NumberShare.phone_number_id) == col(PhoneNumber.id)) | (
    (col(NumberShare.phone_number_id) == INSTALLATION) & col(PhoneNumber.shared).is_(True)
)
"""Joins shares with their numbers."""


class NumberError(Exception):
    """The change was rejected, and nothing was changed; the text says why."""


@dataclass(frozen=True, slots=True)
class Options:
    """The options of a number that can be set; ``None`` leaves one as it is."""

    rate: float | None = None
    portfolio_id: str | None = None
    tier: str | None = None


def add(
    session: Session, phone_number_id: str, tenant_id: str, given: Options, defaults: Options
) -> PhoneNumber:
    """Register a number, or change the given options of one that the tenant already has.

    ``defaults`` fills in what is not given for a new number.

    Raises:
        NumberError: the number belongs to another tenant.
    """
    session.execute(
        insert_into(session, PhoneNumber)
        .values(
            id=phone_number_id,
            tenant_id=tenant_id,
            portfolio_id=given.portfolio_id or defaults.portfolio_id,
            shared=False,
            state=NumberState.ACTIVE,
            base_rate=given.rate or defaults.rate,
            current_rate=given.rate or defaults.rate,
            tier=given.tier or defaults.tier,
            probes=0,
        )
        .on_conflict_do_nothing()
    )
    number = locked(session, phone_number_id)
    if number.tenant_id != tenant_id:
        raise NumberError(
            f"the number belongs to tenant {number.tenant_id!r}: `pytake number move` moves it"
        )
    numbers.end_unregistered_alert(session, phone_number_id)
    return _change(session, number, given)


def change(session: Session, phone_number_id: str, given: Options) -> PhoneNumber:
    """Change the given options of a number.

    Raises:
        NumberError: the number is not registered.
    """
    return _change(session, locked(session, phone_number_id), given)


def _change(session: Session, number: PhoneNumber, given: Options) -> PhoneNumber:
    if given.rate is not None:
        numbers.set_rate(number, given.rate)
    if given.tier is not None:
        number.tier = given.tier
    if given.portfolio_id is not None and given.portfolio_id != number.portfolio_id:
        number.portfolio_id = given.portfolio_id
        # The limit that Meta reported was the old portfolio's.
        number.reported_tier = session.scalars(
            select(col(PhoneNumber.reported_tier)).where(
                col(PhoneNumber.portfolio_id) == given.portfolio_id,
                col(PhoneNumber.id) != number.id,
                col(PhoneNumber.reported_tier).is_not(None),
            )
        ).first()
    session.add(number)
    return number


def share(session: Session, phone_number_id: str, tenant_id: str) -> bool:
    """Let another tenant send from a number.

    :data:`INSTALLATION` stands for the configured number, whichever that is.

    Returns:
        Whether the share is new.

    Raises:
        NumberError: the number is not registered, or is the tenant's own.
    """
    own = (
        phone_number_id != INSTALLATION and locked(session, phone_number_id).tenant_id == tenant_id
    )
    if own:
        raise NumberError(f"the number is tenant {tenant_id!r}'s own")
    made = session.execute(
        insert_into(session, NumberShare)
        .values(tenant_id=tenant_id, phone_number_id=phone_number_id)
        .on_conflict_do_nothing()
        .returning(NumberShare.tenant_id)
    )
    return made.first() is not None


def unshare(session: Session, phone_number_ids: list[str], tenant_id: str) -> bool:
    """End a tenant's shares of these numbers; return whether there were any."""
    ended = session.execute(
        delete(NumberShare)
        .where(
            col(NumberShare.tenant_id) == tenant_id,
            col(NumberShare.phone_number_id).in_(phone_number_ids),
        )
        .returning(col(NumberShare.tenant_id))
    )
    return ended.first() is not None


def shared_with(session: Session, phone_number_ids: list[str]) -> list[str]:
    """The tenants that any of these numbers are shared with, sorted."""
    statement = (
        select(col(NumberShare.tenant_id))
        .where(col(NumberShare.phone_number_id).in_(phone_number_ids))
        .distinct()
    )
    return sorted(session.scalars(statement))


def tenants_of(session: Session, column: Any, value: str | None = None) -> set[str]:
    """The tenants, owners and guests, that may send from numbers whose ``column`` is ``value``
    (``None``: from any number).
    """
    owners = select(col(PhoneNumber.tenant_id))
    guests = select(col(NumberShare.tenant_id)).join(PhoneNumber, _shared)
    if value is not None:
        owners, guests = owners.where(col(column) == value), guests.where(col(column) == value)
    return {*session.scalars(owners.distinct()), *session.scalars(guests.distinct())}


def is_only_tenant(session: Session, tenant_id: str, column: Any, value: str) -> bool:
    """Whether only this tenant may send from numbers whose ``column`` (id, portfolio) is ``value``.

    Totals over these numbers are then the tenant's own.
    """
    matching = col(column) == value
    theirs = select(col(PhoneNumber.id)).where(matching, col(PhoneNumber.tenant_id) != tenant_id)
    guests = (
        select(col(NumberShare.tenant_id))
        .join(PhoneNumber, _shared)
        .where(matching, col(NumberShare.tenant_id) != tenant_id)
    )
    return all(session.scalars(found.limit(1)).first() is None for found in (theirs, guests))


def senders(session: Session, configured: str, rate: float) -> Senders:
    """Every number with its owner and its shares; ``rate`` is that of the configured number."""
    return Senders(
        (
            Sender(number.id, number.tenant_id, number.base_rate)
            for number in numbers.visible(session, None)
        ),
        (
            (tenant, number)
            for tenant, number in session.execute(
                select(col(NumberShare.tenant_id), col(NumberShare.phone_number_id))
            )
        ),
        Sender(configured, numbers.CONFIGURED_OWNER, rate),
    )


def locked(session: Session, phone_number_id: str) -> PhoneNumber:
    """The row of a number, locked.

    Raises:
        NumberError: the number is not registered.
    """
    number = numbers.lock(session, phone_number_id)
    if number is None:
        raise NumberError(f"no number {phone_number_id!r}")
    return number
