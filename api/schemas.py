"""Request and response bodies of the queue."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    StrictBool,
    StrictInt,
    StringConstraints,
    model_validator,
)

from pytake.messages.content import MessageType
from pytake.messages.status import Status
from pytake.temporal.priority import Priority

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.\-]{1,64}$")]

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


def _iso_text(value: Any) -> Any:
    if not isinstance(value, str | datetime):
        raise ValueError("must be ISO 8601 text with an offset, like 2026-12-24T09:00:00-03:00")
    return value


def _in_range(value: datetime) -> datetime:
    """What every part can hold; in UTC, the first and the last days of the calendar are beyond it."""
    if value.year not in _YEARS:
        raise ValueError(f"must be in the years {_YEARS[0]} to {_YEARS[-1]}")
    return value


_YEARS = range(1970, 2200)
"""What every part can hold: Temporal counts nanoseconds since 1970 in 64 bits."""

IsoDatetime = Annotated[AwareDatetime, BeforeValidator(_iso_text), AfterValidator(_in_range)]


def clean_text(value: Any, depth: int = 0) -> None:
    """Refuse what no database and no UTF-8 can hold, wherever it stands."""
    if depth > 20:
        raise ValueError("nested more than 20 levels deep")
    if isinstance(value, str):
        if "\0" in value:
            raise ValueError("contains a null character")
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise ValueError("contains half a surrogate pair, which is not valid Unicode")
    elif isinstance(value, dict):
        for key, item in value.items():
            clean_text(key, depth + 1)
            clean_text(item, depth + 1)
    elif isinstance(value, list):
        for item in value:
            clean_text(item, depth + 1)


class CleanText(BaseModel):
    """A body whose texts any database can hold."""

    @model_validator(mode="before")
    @classmethod
    def _clean(cls, value: Any) -> Any:
        clean_text(value)
        return value


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
    """Everything known of a message."""

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


class RateLimit(BaseModel):
    """What a number may send."""

    phone_number_id: str
    state: str
    tier: str
    daily_limit: int | None
    used_24h: int
    remaining_24h: int | None
    messages_per_second: float
    current_rate: float


class Stats(BaseModel):
    """Live figures: in flight from Temporal, finished from the database."""

    pending_total: int
    pending_by_priority: dict[str, int]
    scheduled: int
    processing: int
    retrying: int
    held: int
    held_by_meta: int = Field(
        description="Accepted, and held for quality assessment or paused by Meta"
    )
    sent: int
    delivered: int
    read: int
    failed: int
    cancelled: int
    dead_letter: int
    rate_limit: RateLimit
    numbers: list[RateLimit]


class NumberView(BaseModel):
    """A number and how fast it may go."""

    phone_number_id: str
    state: Literal["active", "throttled", "held", "paused"]
    reason: str | None
    reason_code: int | None
    advice: str | None
    since: datetime | None
    next_probe_at: datetime | None
    messages_per_second: float
    current_rate: float
    tier: str
    display_phone_number: str | None = None
    verified_name: str | None = None
    quality_rating: str = "UNKNOWN"
    status: str = "UNKNOWN"
    health_score: int | None = Field(default=None, description="null while Meta was never asked")
    health_fetched_at: datetime | None = None


class AlertView(BaseModel):
    """Something a person must know."""

    id: int
    kind: str
    severity: str
    phone_number_id: str | None
    code: int | None
    title: str
    advice: str
    since: datetime
