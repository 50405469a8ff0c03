"""Dependencies of the auto-responder's routes."""

from typing import Annotated

from api.dependencies import from_state
from pytake.conversations.rule_store import Books

BooksDep = Annotated[Books, from_state("books")]
"""The tenants' rules, compiled for matching."""
