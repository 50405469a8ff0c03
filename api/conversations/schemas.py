"""Request and response bodies of the auto-responder."""

from datetime import datetime
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StrictBool, StringConstraints

from api.fields import CleanText, Name
from pytake.conversations.rules.hours import BusinessHours
from pytake.conversations.rules.rules import RuleFields

RULE_EXAMPLE: Final[dict[str, JsonValue]] = {
    "id": "promo",
    "name": "Promoção",
    "trigger": {
        "type": "Keyword",
        "words": ["promoção", "desconto", "oferta"],
        "match_type": "Contains",
    },
    "response": {
        "action": "SendMessage",
        "text": "🎉 Temos 20% de desconto esta semana! Digite QUERO para saber mais.",
    },
    "active": True,
    "priority": 85,
}

_LONGEST_MESSAGE: Final = 4096
"""Characters; WhatsApp's limit."""


class RuleBody(RuleFields, CleanText):
    """A rule: what triggers it, what is answered, and when."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [RULE_EXAMPLE]})

    id: Name | None = Field(default=None, description="Generated if left out")
    tenant_id: Name | None = None


class RuleUpdate(RuleFields, CleanText):
    """A replacement for a rule; ``id``, ``tenant_id``, ``created_at``, ``problem`` from ``GET`` are ignored."""

    id: Name | None = None
    tenant_id: Name | None = None
    created_at: datetime | None = None
    problem: Annotated[str, StringConstraints(max_length=1000)] | None = None


class RuleView(RuleFields):
    """A stored rule."""

    id: str
    tenant_id: str
    created_at: datetime
    problem: str | None = Field(
        default=None, description="Why it does not match although it is active"
    )


class RuleList(BaseModel):
    """Rules by priority, then oldest first."""

    rules: list[RuleView]


class ToggleBody(BaseModel):
    """``{"active": true}``; without a body the rule is toggled."""

    model_config = ConfigDict(extra="forbid")

    active: StrictBool | None = None


class HoursBody(BusinessHours, CleanText):
    """Business hours; fields left out take their defaults."""


class HoursView(BusinessHours):
    """Business hours, and whether it is open now."""

    tenant_id: str
    phone_number_id: str | None = Field(description="null: all numbers without hours of their own")
    configured: bool = Field(description="false: these are the defaults")
    open_now: bool
    opens_at: datetime | None = Field(description="The next opening")
    holiday_today: str | None


class ProcessBody(CleanText):
    """A message as if the contact had sent it."""

    model_config = ConfigDict(
        extra="forbid",
        populate_by_name=True,
        json_schema_extra={
            "examples": [
                {"from": "5561994013828", "message": "Quero saber da PROMOCAO", "explain": True}
            ]
        },
    )

    from_: Annotated[str, StringConstraints(min_length=1, max_length=128)] = Field(alias="from")
    message: Annotated[str, StringConstraints(max_length=_LONGEST_MESSAGE)] = ""
    reply_id: Annotated[str, StringConstraints(min_length=1, max_length=256)] | None = Field(
        default=None, description="The id of a tapped button or list row"
    )
    is_first_message: StrictBool | None = Field(
        default=None, description="Derived from earlier messages if left out"
    )
    deliver: StrictBool = Field(default=False, description="Send the answer, and count it")
    explain: StrictBool = Field(default=False, description="Include the result of each rule")
    name: Annotated[str, StringConstraints(max_length=200)] | None = None
    phone_number_id: Annotated[str, StringConstraints(pattern=r"^\d{1,32}$")] | None = None
    tenant_id: Name | None = None


class MatchedRule(BaseModel):
    """The rule that answers."""

    id: str
    name: str


class ReplyMessage(BaseModel):
    """One message of the answer, with variables filled in; an id once it was queued."""

    message_type: str
    content: dict[str, Any]
    message_id: str | None = None


class RuleReason(BaseModel):
    """The result of a rule."""

    rule_id: str
    matched: bool
    reason: str


class ProcessResult(BaseModel):
    """The action chosen, or the reason why there is none."""

    matched: bool
    rule: MatchedRule | None = None
    action: dict[str, Any] | None = None
    messages: list[ReplyMessage] = Field(default_factory=list)
    delay_seconds: float = 0
    delivered: bool = Field(
        default=False, description="Whether messages were queued: those with an id"
    )
    reason: str = ""
    explain: list[RuleReason] | None = None


class RuleUse(BaseModel):
    """How often a rule answered the contact."""

    rule_id: str
    count: int
    last_at: datetime | None


class WindowState(BaseModel):
    """The customer service window: free-form messages are allowed while it is open."""

    open: bool
    until: datetime | None


class OptOutState(BaseModel):
    """Whether the contact refuses marketing."""

    opted_out: bool
    since: datetime | None = None
    source: str | None = None


class HandoverState(BaseModel):
    """Whether a person has taken over the conversation."""

    active: bool
    since: datetime | None = None
    by: str | None = None
    department: str | None = None
    ends_at: datetime | None = Field(default=None, description="Unless either side writes before")


class MenuState(BaseModel):
    """The menu that the contact was shown last."""

    rule_id: str
    path: list[str]


class ContactView(BaseModel):
    """The state of the conversation with a contact."""

    contact: str
    tenant_id: str
    phone_number_id: str
    name: str | None
    first_inbound_at: datetime | None
    last_inbound_at: datetime | None
    window: WindowState
    opt_out: OptOutState
    handover: HandoverState
    silent_until: datetime | None = Field(description="Set by the loop breaker")
    menu: MenuState | None
    tags: list[str]
    uses: list[RuleUse]


class HandoverBody(BaseModel):
    """Who takes over."""

    model_config = ConfigDict(extra="forbid")

    department: Annotated[str, StringConstraints(min_length=1, max_length=60)] | None = None
