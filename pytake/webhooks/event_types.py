"""The events that PyTake sends to tenants' systems, and subscriptions to them."""

import re
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from pydantic import BaseModel, Field


class EventType(StrEnum):
    """The types of events that PyTake itself raises."""

    MESSAGE_QUEUED = "message.queued"
    MESSAGE_SENT = "message.sent"
    MESSAGE_DELIVERED = "message.delivered"
    MESSAGE_READ = "message.read"
    MESSAGE_FAILED = "message.failed"
    MESSAGE_CANCELLED = "message.cancelled"
    MESSAGE_RECEIVED = "message.received"
    CONTACT_OPTED_OUT = "contact.opted_out"
    CONTACT_OPTED_IN = "contact.opted_in"
    CONVERSATION_HANDED_OVER = "conversation.handed_over"
    CONVERSATION_RESUMED = "conversation.resumed"
    NUMBER_QUALITY_CHANGED = "number.quality_changed"
    NUMBER_LIMIT_CHANGED = "number.limit_changed"
    NUMBER_HELD = "number.held"
    NUMBER_RESUMED = "number.resumed"
    ACCOUNT_RESTRICTED = "account.restricted"
    ACCOUNT_VIOLATION_REPORTED = "account.violation_reported"
    ACCOUNT_DISABLED = "account.disabled"
    ACCOUNT_REINSTATED = "account.reinstated"
    ACCOUNT_PARTNER_REMOVED = "account.partner_removed"
    ACCOUNT_OFFBOARDED = "account.offboarded"
    ACCOUNT_RECONNECTED = "account.reconnected"
    ACCOUNT_DELETED = "account.deleted"
    ACCOUNT_ALERT_RAISED = "account.alert_raised"
    ACCOUNT_UPDATED = "account.updated"
    """Any other ``account_update`` from Meta."""
    TEMPLATE_STATUS_CHANGED = "template.status_changed"
    TEMPLATE_QUALITY_CHANGED = "template.quality_changed"
    TEMPLATE_CATEGORY_CHANGED = "template.category_changed"
    WEBHOOK_DISABLED = "webhook.disabled"


class EventError(BaseModel):
    """Why a message failed."""

    code: int | None = Field(default=None, description="Meta's error code")
    title: str
    detail: str = ""
    advice: str = Field(default="", description="What a person should do")


class MessageEvent(BaseModel):
    """A message of yours changed its status."""

    message_id: str
    status: str
    to: str
    phone_number_id: str
    at: datetime
    wamid: str | None = None
    message_type: str | None = None
    metadata: dict[str, str] = Field(default_factory=dict)
    error: EventError | None = None


class ReceivedEvent(BaseModel):
    """A contact wrote to one of your numbers; ``message`` as Meta sent it."""

    wamid: str
    phone_number_id: str
    contact: str
    name: str | None = None
    type: str
    at: datetime
    group_id: str | None = Field(
        default=None, description="The group it was written in: it opens no customer service window"
    )
    message: dict[str, Any]


class ContactEvent(BaseModel):
    """A contact opted out of marketing messages, or came back."""

    phone_number_id: str | None
    contact: str
    at: datetime
    detail: str = ""


class ConversationEvent(BaseModel):
    """A person took a conversation over from the bot, or gave it back."""

    phone_number_id: str
    contact: str
    at: datetime
    department: str | None = None
    reason: str


class NumberEvent(BaseModel):
    """The state, quality or limit of one of your numbers changed."""

    phone_number_id: str | None
    at: datetime
    state: str | None = None
    code: int | None = None
    reason: str | None = None
    advice: str | None = None
    before: str | None = None
    after: str | None = None


class AccountEvent(BaseModel):
    """Meta reported something about a WhatsApp Business account that some of your numbers belong to."""

    account_id: str | None
    phone_number_id: str | None = Field(default=None, description="The number concerned, if any")
    event: str = Field(description="Meta's name for it, such as ACCOUNT_RESTRICTION")
    at: datetime
    title: str
    advice: str = Field(default="", description="What a person should do; empty if nothing")
    update: dict[str, Any] = Field(description="As Meta sent it")


class TemplateEvent(BaseModel):
    """Meta changed the status, quality or category of a template."""

    account_id: str | None
    template_id: str | None
    name: str
    language: str | None = Field(description="In the API's spelling, such as pt_BR")
    at: datetime
    before: str | None = None
    after: str | None = None
    reason: str | None = None
    impending: bool = Field(default=False, description="A change of category that is yet to come")
    advice: str = Field(default="", description="What a person should do; empty if nothing")
    update: dict[str, Any] = Field(description="As Meta sent it")


class DisabledEvent(BaseModel):
    """One of your endpoints was disabled; its events are kept as discarded and can be replayed."""

    endpoint_id: str
    url: str
    reason: str
    at: datetime


SCHEMAS: Final[dict[EventType, type[BaseModel]]] = {
    **{kind: MessageEvent for kind in EventType if kind.value.startswith("message.")},
    EventType.MESSAGE_RECEIVED: ReceivedEvent,
    EventType.CONTACT_OPTED_OUT: ContactEvent,
    EventType.CONTACT_OPTED_IN: ContactEvent,
    EventType.CONVERSATION_HANDED_OVER: ConversationEvent,
    EventType.CONVERSATION_RESUMED: ConversationEvent,
    EventType.NUMBER_QUALITY_CHANGED: NumberEvent,
    EventType.NUMBER_LIMIT_CHANGED: NumberEvent,
    EventType.NUMBER_HELD: NumberEvent,
    EventType.NUMBER_RESUMED: NumberEvent,
    **{kind: AccountEvent for kind in EventType if kind.value.startswith("account.")},
    **{kind: TemplateEvent for kind in EventType if kind.value.startswith("template.")},
    EventType.WEBHOOK_DISABLED: DisabledEvent,
}
"""The schema of each type's ``data``."""

EVENT_NAME: Final = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)*")
"""Valid event types: PyTake's own, and those that tenants send through ``POST /webhooks/send``."""
SUBSCRIPTION: Final = re.compile(r"\*|[a-z0-9_]+(\.[a-z0-9_]+)*(\.\*)?")


def subscribes(subscriptions: list[str], event_type: str) -> bool:
    """Whether any subscription (an exact name, a prefix like ``message.*``, or ``*``) covers a type."""
    return any(
        wanted in ("*", event_type)
        or (wanted.endswith(".*") and event_type.startswith(wanted[:-1]))
        for wanted in subscriptions
    )
