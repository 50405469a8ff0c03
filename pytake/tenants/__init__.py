"""Tenants: whose data and numbers they are."""

from typing import Final

DEFAULT_TENANT: Final = "default"
"""The tenant of a single-tenant installation, and of the numbers that the environment configures."""
UNASSIGNED: Final = "*"
"""The tenant of updates about numbers and accounts that are not registered here; only admins see them."""
