"""The two sides of a conversation."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Party:
    """A contact and one of a tenant's numbers."""

    tenant_id: str
    phone_number_id: str
    contact_key: str
