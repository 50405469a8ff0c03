"""Who is making a request."""

from dataclasses import dataclass

from pytake.problems import ForbiddenError


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is making a request: a tenant, or an admin, who may act for any tenant."""

    tenant_id: str
    admin: bool
    keyless: bool = False
    """Whether the API serves without keys, so that anyone who can reach it may use it."""
    key_id: str | None = None

    def acting_for(self, tenant_id: str | None) -> str:
        """The tenant that a request is for.

        Raises:
            ForbiddenError: the request names a tenant other than the key's.
        """
        if tenant_id is None or tenant_id == self.tenant_id:
            return self.tenant_id
        if not self.admin:
            raise ForbiddenError("the API key does not belong to the tenant named by tenant_id")
        return tenant_id

    @property
    def scope(self) -> str | None:
        """The tenant whose data is visible; ``None`` for all."""
        return None if self.admin else self.tenant_id

    def sees(self, tenant_id: str) -> bool:
        """Whether data of ``tenant_id`` is visible."""
        return self.admin or tenant_id == self.tenant_id
