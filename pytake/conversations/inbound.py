"""A message from a contact, as received from Meta."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pytake.conversations.rules.said import unanswerable


@dataclass(frozen=True, slots=True)
class Inbound:
    """One message from a contact."""

    wamid: str
    phone_number_id: str
    contact_key: str
    wa_id: str | None
    user_id: str | None
    name: str | None
    type: str
    payload: dict[str, Any]
    """The whole message, as Meta sent it."""
    at: datetime
    group_id: str | None = None

    @property
    def answerable(self) -> bool:
        """Whether the auto-responder may answer messages of this kind."""
        return unanswerable(self.type, self.payload) is None

    @property
    def personal(self) -> bool:
        """Whether it was sent to one of our numbers directly, not to a group: only then does it open the
        customer service window.
        """
        return self.group_id is None
