"""Tenants: whose data and numbers they are."""

from typing import Final

DEFAULT_TENANT: Final = "default"
"""The tenant of a single-tenant installation, and of the numbers that the environment configures."""
UNASSIGNED: Final = "*"
"""The tenant of what Meta tells of a number or an account that is nobody's here: only admins see it."""
