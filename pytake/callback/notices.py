"""Raising alerts and events for account and template updates."""

from collections.abc import Iterable
from datetime import datetime

from sqlmodel import Session

from pytake.callback.account_notices import Notice, notice
from pytake.callback.owners import Owners
from pytake.callback.parse import Update
from pytake.contacts import opt_outs
from pytake.numbers import alerts
from pytake.numbers import owners as number_owners
from pytake.numbers.tables import PhoneNumber
from pytake.tenants import DEFAULT_TENANT, UNASSIGNED
from pytake.webhooks.contracts import DeliveryInput
from pytake.webhooks.event_types import TemplateEvent
from pytake.webhooks.events import NewEvent, emit


def raise_notices(
    session: Session, updates: Iterable[Update], owners: Owners, at: datetime
) -> list[DeliveryInput]:
    """Raise alerts and events for account and template updates, for every tenant they concern."""
    events: list[NewEvent] = []
    for update in updates:
        if update.problem is not None:
            continue
        happened = min(update.origin.sent_at or at, at)
        found = notice(update.field, update.payload, update.origin.account, happened)
        if found is None:
            continue
        if isinstance(found.data, TemplateEvent):
            opt_outs.apply_template_change(session, update.origin.account, found.data, found.event)
        tenants = _tenants(session, found, update, owners)
        _alert(session, found, tenants or {UNASSIGNED}, happened, at)
        data = found.data.model_dump(mode="json")
        events += [
            NewEvent(tenant_id, found.event.value, update.key(at), data, at)
            for tenant_id in sorted(tenants)
        ]
    return emit(session, events, at)


def _tenants(session: Session, found: Notice, update: Update, owners: Owners) -> set[str]:
    """The tenants concerned: those that send from the number, or else from any number of the account.

    All numbers send with the configured account's token, so updates about that account concern everyone.
    """
    if found.phone_number_id is not None:
        return number_owners.tenants_of(session, PhoneNumber.id, found.phone_number_id)
    if update.origin.account == owners.account:
        return {DEFAULT_TENANT} | number_owners.tenants_of(session, PhoneNumber.id)
    if update.origin.account is None:
        return set()
    return number_owners.tenants_of(session, PhoneNumber.portfolio_id, update.origin.account)


def _alert(
    session: Session, found: Notice, tenants: set[str], happened: datetime, at: datetime
) -> None:
    if found.ends:
        alerts.end(
            session, found.ends, at, subject=found.subject, tenants=tenants, not_after=happened
        )
    if found.alert is None:
        return
    for tenant_id in sorted(tenants):
        alerts.raise_once(
            session,
            tenant_id,
            found.alert,
            happened,
            severity=found.severity,
            phone_number_id=found.phone_number_id,
            detail=found.detail,
        )
