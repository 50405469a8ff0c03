"""A message of a contact's, as Meta handed it over."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pytake.conversations.rules.said import unanswerable


@dataclass(frozen=True, slots=True)
class Inbound:
    """One message of a contact."""

    wamid: str
    phone_number_id: str
    contact_key: str
    wa_id: str | None
    user_id: str | None
    name: str | None
    type: str
    payload: dict[str, Any]
    """The whole of it, as Meta sent it."""
    at: datetime
    group_id: str | None = None

    @property
    def answerable(self) -> bool:
        """Whether it is of a kind that the auto-responder may answer."""
        return unanswerable(self.type, self.payload) is None

    @property
    def personal(self) -> bool:
        """Whether it was said to one of our numbers alone: only then it opens the contact's window."""
        return self.group_id is None
