"""Request and response bodies of messages."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    StrictBool,
    StrictInt,
    StringConstraints,
)

from api.fields import CleanText, IsoDatetime, Name
from pytake.messages.content import MessageType
from pytake.messages.status import Status
from pytake.temporal.priority import Priority

SEND_EXAMPLES: list[JsonValue] = [
    {
        "to": "5561994013828",
        "message_type": "template",
        "content": {"name": "pytake_saudacao", "language": "pt_BR"},
        "priority": "High",
        "max_attempts": 5,
    },
    {
        "to": "+55 61 99401-3828",
        "message_type": "text",
        "content": {"body": "Olá! Seu pedido saiu para entrega."},
        "metadata": {"order": "1234"},
    },
]


def _examples(*examples: JsonValue) -> dict[str, JsonValue]:
    return {"examples": list(examples)}


class SendBody(CleanText):
    """A message to send; its ``content`` depends on ``message_type``.

    Text ``{body, preview_url?}``; template ``{name, language, parameters? | components?}``; media
    ``{media_type, url | id, caption?, filename?}``; interactive ``{body, header?, footer?, buttons |
    list | cta_url}``; location ``{latitude, longitude, name?, address?}``; contacts ``{contacts}``;
    reaction ``{message_id, emoji}``.
    """

    model_config = ConfigDict(extra="forbid", json_schema_extra=_examples(*SEND_EXAMPLES))

    to: Annotated[str, StringConstraints(min_length=1, max_length=128)] = Field(
        description="Phone number with country code, or a business-scoped user id"
    )
    message_type: MessageType
    content: dict[str, Any]
    priority: Priority = Field(default=Priority.NORMAL, description="In any case")
    scheduled_for: IsoDatetime | None = Field(default=None, description="ISO 8601 with offset")
    expires_at: IsoDatetime | None = Field(
        default=None, description="24 hours after the start (or scheduled_for) by default"
    )
    max_attempts: Annotated[StrictInt, Field(ge=1, le=20)] = 5
    metadata: dict[
        Annotated[str, StringConstraints(min_length=1, max_length=64)],
        Annotated[str, StringConstraints(max_length=500)],
    ] = Field(default_factory=dict, max_length=20, description="Returned, and sent along in events")
    reply_to: Annotated[str, StringConstraints(min_length=1, max_length=512)] | None = None
    phone_number_id: Annotated[str, StringConstraints(pattern=r"^\d{1,32}$")] | None = None
    tenant_id: Name | None = None
    check_window: StrictBool = Field(
        default=True,
        description="Refuse a free-form message while the customer service window is closed",
    )


class Accepted(BaseModel):
    """The message is durable and will be sent, dead-lettered or cancelled."""

    success: Literal[True] = True
    message_id: str
    status: Literal["queued", "scheduled"]


class BatchBody(BaseModel):
    """Up to 500 messages; each item is checked on its own."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra=_examples({"messages": [SEND_EXAMPLES[0]]})
    )

    messages: list[Any] = Field(min_length=1, max_length=500)


class BatchItem(BaseModel):
    """The result of one item: a message id, or a problem."""

    index: int
    success: bool
    message_id: str | None = None
    status: Literal["queued", "scheduled"] | None = None
    error: dict[str, Any] | None = None


class BatchResult(BaseModel):
    """One result per item, in order."""

    accepted: int
    rejected: int
    results: list[BatchItem]


class MessageError(BaseModel):
    """Why a message failed, or waits: Meta's code, what it means, what to do."""

    code: int | None = None
    error_class: str
    title: str
    detail: str = ""
    advice: str = ""


class TimelineEntry(BaseModel):
    """Something that happened to a message."""

    at: datetime
    event: str
    detail: str = ""


class MessageView(BaseModel):
    """Everything known about a message."""

    message_id: str
    tenant_id: str
    status: Status
    to: str
    message_type: str
    priority: str
    phone_number_id: str
    attempts: int
    max_attempts: int
    created_at: datetime
    scheduled_for: datetime | None = None
    expires_at: datetime | None = None
    last_attempt_at: datetime | None = None
    next_retry_at: datetime | None = None
    error: MessageError | None = None
    wamid: str | None = None
    wa_id: str | None = None
    reply_to: str | None = None
    metadata: dict[str, str] = Field(default_factory=dict)
    pricing_category: str | None = None
    billable: bool | None = None
    timeline: list[TimelineEntry] = Field(default_factory=list)
    links: dict[str, str] = Field(default_factory=dict)


class MessagePage(BaseModel):
    """Messages in flight first, then finished ones, each newest first."""

    messages: list[MessageView]
    next_cursor: str | None = None


class RescheduleBody(BaseModel):
    """Another time for a scheduled message."""

    model_config = ConfigDict(extra="forbid")

    scheduled_for: IsoDatetime
    expires_at: IsoDatetime | None = None


class CancelResult(BaseModel):
    """``cancelled``; or ``cancelling`` when no worker is up to carry it out yet."""

    success: Literal[True] = True
    message_id: str
    status: Literal["cancelled", "cancelling"]
