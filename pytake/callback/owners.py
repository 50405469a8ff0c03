"""Whose the parts of a request of Meta's callback are."""

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import select
from sqlmodel import Session, col

from pytake.callback.parse import Callback, Update
from pytake.numbers.tables import PhoneNumber
from pytake.settings import WhatsAppSettings
from pytake.tenants import DEFAULT_TENANT, UNASSIGNED


@dataclass(frozen=True, slots=True)
class Owners:
    """The tenants of the numbers of one request, and whose the installation's account is."""

    tenants: dict[str, str]
    """Tenant by phone number id, of those that are registered."""
    account: str
    """The configured WhatsApp Business account."""

    def of_number(self, phone_number_id: str | None) -> str | None:
        """The tenant of a number; ``None`` while it is registered for nobody."""
        return self.tenants.get(phone_number_id or "")

    def of(self, update: Update) -> str:
        """The tenant that an update is kept for: its number's, else its account's, else nobody's."""
        if update.phone_number_id is not None:
            return self.of_number(update.phone_number_id) or UNASSIGNED
        return DEFAULT_TENANT if update.origin.account == self.account else UNASSIGNED

    def portfolio(self, update: Update) -> str | None:
        """Whose messaging limit an update speaks of; ``None`` if of no number or account of ours."""
        if update.phone_number_id is not None and not self.of_number(update.phone_number_id):
            return None
        return update.origin.account or self.account


def owners_of(session: Session, callback: Callback, settings: WhatsAppSettings) -> Owners:
    """Look the numbers of a request up. The configured one is the installation's from the start."""
    rows = session.execute(
        select(col(PhoneNumber.id), col(PhoneNumber.tenant_id)).where(
            col(PhoneNumber.id).in_(_numbers(callback))
        )
    )
    known = {str(number): str(tenant) for number, tenant in rows}
    known.setdefault(settings.phone_number_id, DEFAULT_TENANT)
    return Owners(known, settings.business_account_id)


def _numbers(callback: Callback) -> set[str]:
    items: Iterable[str | None] = (
        *(item.phone_number_id for item in callback.receipts),
        *(item.phone_number_id for item in callback.inbound),
        *(item.phone_number_id for item in callback.others),
    )
    return {item for item in items if item is not None}
