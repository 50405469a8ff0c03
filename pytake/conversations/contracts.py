"""Inputs and results of the conversation workflow and its activities, and their ids."""

import hashlib
from typing import Final

from pydantic import Field
from ulid import ULID

from pytake.temporal.contract import Contract

CONVERSATION_WORKFLOW: Final = "ConversationWorkflow"
INBOUND_SIGNAL: Final = "inbound"


class ConversationInput(Contract):
    """Input of ConversationWorkflow: one contact of one number."""

    tenant_id: str
    phone_number_id: str
    contact_key: str
    debounce_seconds: float
    pending: list[str] = Field(default_factory=list)
    """Wamids not answered yet (carried across continue-as-new)."""


class InboundSignal(Contract):
    """Signal ``inbound``: messages of the contact, by wamid; their content is in the database."""

    wamids: list[str]


class DecideRequest(Contract):
    """Input of activity ``decide_reply``: a burst of messages."""

    tenant_id: str
    phone_number_id: str
    contact_key: str
    wamids: list[str]

    @property
    def key(self) -> str:
        """Identifies the decision across retries of the activity."""
        return self.wamids[-1]


class Decision(Contract):
    """Result of ``decide_reply``: how many messages to send, and after what delay."""

    key: str
    messages: int = 0
    delay_seconds: float = 0
    reason: str = ""


class ReplyRequest(Contract):
    """Input of ``send_reply`` and ``mark_read``: one message of an answer."""

    key: str
    index: int = 0


def reply_message_id(tenant_id: str, key: str, index: int) -> str:
    """The message id of one message of an answer; the same on every retry."""
    digest = hashlib.sha256(f"{tenant_id}\0reply\0{key}\0{index}".encode()).digest()
    return f"msg_{ULID.from_bytes(digest[:16])}"


def conversation_workflow_id(phone_number_id: str, contact_hash: str) -> str:
    """The id of a conversation's workflow. The contact is hashed: ids contain no personal data."""
    return f"conversation-{phone_number_id}-{contact_hash}"
