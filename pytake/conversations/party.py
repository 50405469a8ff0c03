"""Who talks."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Party:
    """Who talks: a contact and one of a tenant's numbers."""

    tenant_id: str
    phone_number_id: str
    contact_key: str
