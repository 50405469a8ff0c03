"""Which tenants the parts of a callback request belong to."""

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
    """The tenants of the numbers in one request, and the installation's account."""

    tenants: dict[str, str]
    """Tenants by phone number id, for registered numbers only."""
    account: str
    """The configured WhatsApp Business account."""

    def of_number(self, phone_number_id: str | None) -> str | None:
        """The tenant of a number; ``None`` if it is not registered."""
        return self.tenants.get(phone_number_id or "")

    def of(self, update: Update) -> str:
        """The tenant to store an update for: its number's, else its account's, else ``UNASSIGNED``."""
        if update.phone_number_id is not None:
            return self.of_number(update.phone_number_id) or UNASSIGNED
        return DEFAULT_TENANT if update.origin.account == self.account else UNASSIGNED

    def portfolio(self, update: Update) -> str | None:
        """The portfolio whose messaging limit an update is about; ``None`` if its number is not ours."""
        if update.phone_number_id is not None and not self.of_number(update.phone_number_id):
            return None
        return update.origin.account or self.account


def owners_of(session: Session, callback: Callback, settings: WhatsAppSettings) -> Owners:
    """Look up the numbers of a request. The configured number belongs to the default tenant unless it is
    registered for another.
    """
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
