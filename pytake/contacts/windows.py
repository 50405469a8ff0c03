"""Customer service windows: open while a contact wrote in the last 24 hours."""

from datetime import datetime

from sqlmodel import Session

from pytake.contacts.tables import Contact


def last_inbound_at(
    session: Session, phone_number_id: str, contact_key: str, tenant_id: str | None
) -> datetime | None:
    """When the contact last wrote to the number while ``tenant_id`` owned it (``None``: any tenant)."""
    contact = session.get(Contact, (phone_number_id, contact_key))
    if contact is None or tenant_id not in (None, contact.tenant_id):
        return None
    return contact.last_inbound_at
