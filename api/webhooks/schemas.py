"""Request and response bodies of the webhooks."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StringConstraints,
    WithJsonSchema,
    field_validator,
)

from api.fields import CleanText, IsoDatetime, Name
from pytake.webhooks.event_types import EVENT_NAME, SUBSCRIPTION
from pytake.webhooks.guard import FORBIDDEN_HEADERS
from pytake.webhooks.headers import HEADER_VALUE, value_problem
from pytake.webhooks.signing import SECRET_PREFIX, signing_key


def _sendable(value: str) -> str:
    if (problem := value_problem(value)) is not None:
        raise ValueError(problem)
    return value


def _usable_secret(value: str) -> str:
    if value != value.strip():
        raise ValueError("begins or ends with whitespace: remove it")
    if value.startswith(SECRET_PREFIX) and signing_key(value) == value.encode():
        raise ValueError(
            f"what follows {SECRET_PREFIX} must be base64: leave the secret out to have one generated"
        )
    return value


HeaderValue = Annotated[
    str,
    AfterValidator(_sendable),
    WithJsonSchema({"type": "string", "maxLength": 2000, "pattern": f"^{HEADER_VALUE}$"}),
    StringConstraints(max_length=2000),
]
HeaderName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$")]
Seconds = Annotated[float, Field(gt=0, le=7 * 24 * 3600, allow_inf_nan=False)]
EventName = Annotated[str, StringConstraints(pattern=rf"^({EVENT_NAME.pattern})$", max_length=100)]
Subscription = Annotated[
    str, StringConstraints(pattern=rf"^({SUBSCRIPTION.pattern})$", max_length=100)
]
Secret = Annotated[
    str, StringConstraints(min_length=8, max_length=500), AfterValidator(_usable_secret)
]


def _allowed_headers(value: Any) -> Any:
    """Refuse header names that PyTake sets itself."""
    for name in [value] if isinstance(value, str) else value or ():
        if FORBIDDEN_HEADERS.fullmatch(name):
            raise ValueError(f"header {name} is set by PyTake and cannot be set here")
    return value


CONFIGURE_EXAMPLE: dict[str, Any] = {
    "tenant_id": "tenant1",
    "url": "https://seu-sistema.com/webhook",
    "secret": "seu-secret-seguro",
    "events": ["message.received", "message.sent"],
    "auth_type": "BearerToken",
    "auth_value": "seu-token",
    "max_retries": 5,
    "timeout_seconds": 30,
}


class Backoff(BaseModel):
    """Exponential back-off; jitter only lengthens a wait."""

    model_config = ConfigDict(extra="forbid")

    initial: Seconds = 5.0
    factor: Annotated[float, Field(ge=1, le=100)] = 3.0
    max: Seconds = 6 * 3600.0
    jitter: Annotated[float, Field(ge=0, le=1)] = 0.2


class OAuth2Client(BaseModel):
    """OAuth2 client credentials; the token endpoint passes the same guard as the URL."""

    model_config = ConfigDict(extra="forbid")

    token_url: Annotated[str, StringConstraints(max_length=2048)]
    client_id: Annotated[str, StringConstraints(min_length=1, max_length=500)]
    client_secret: Annotated[str, StringConstraints(min_length=1, max_length=2000)]
    scope: Annotated[str, StringConstraints(max_length=500)] | None = None


AuthType = Literal["None", "BearerToken", "BasicAuth", "ApiKey", "OAuth2", "mTLS"]


class EndpointFields(CleanText):
    """Fields that can be set at creation and later."""

    model_config = ConfigDict(extra="forbid")

    description: Annotated[str, StringConstraints(max_length=500)] | None = None
    auth_type: AuthType | None = None
    auth_value: (
        Annotated[str, StringConstraints(max_length=2000, pattern=r"^[^\x00-\x1F\x7F]*$")] | None
    ) = Field(default=None, description="Token, `user:password`, or API key")
    auth_header: HeaderName | None = Field(default=None, description="The header of an ApiKey")
    oauth2: OAuth2Client | None = None
    client_certificate: Annotated[str, StringConstraints(max_length=50_000)] | None = None
    client_key: Annotated[str, StringConstraints(max_length=50_000)] | None = None
    custom_headers: dict[HeaderName, HeaderValue] | None = Field(default=None, max_length=30)
    max_retries: Annotated[int, Field(ge=0, le=50)] | None = None
    retry_schedule: list[Seconds] | None = Field(
        default=None,
        max_length=50,
        description="Explicit seconds between attempts; the installation has a shortest wait (1 s)",
    )
    backoff: Backoff | None = None
    timeout_seconds: Annotated[float, Field(gt=0, le=60)] | None = None
    rate_limit_per_second: Annotated[float, Field(gt=0, le=1000)] | None = None
    ordered: StrictBool | None = Field(default=None, description="FIFO per conversation")
    active: StrictBool | None = None

    @field_validator("custom_headers", "auth_header")
    @classmethod
    def _allowed(cls, value: Any) -> Any:
        return _allowed_headers(value)


class ConfigureBody(EndpointFields):
    """An endpoint to create, or (with ``id``) to update."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [CONFIGURE_EXAMPLE]})

    id: Annotated[str, StringConstraints(pattern=r"^whe_[A-Za-z0-9]{1,40}$")] | None = None
    tenant_id: Name | None = None
    url: str
    secret: Secret | None = Field(default=None, description="Generated and shown once if left out")
    events: list[Subscription] = Field(min_length=1, max_length=100)


class PatchBody(EndpointFields):
    """The fields to change."""

    url: str | None = None
    events: list[Subscription] | None = Field(default=None, min_length=1, max_length=100)


class RotateBody(BaseModel):
    """A new secret; the old one keeps signing for a while."""

    model_config = ConfigDict(extra="forbid")

    secret: Secret | None = None
    keep_old_seconds: Annotated[float, Field(ge=0, le=30 * 24 * 3600)] = 24 * 3600.0


class EndpointView(BaseModel):
    """An endpoint; secrets are masked. ``secret`` is complete only in the response that created it."""

    id: str
    tenant_id: str
    url: str
    description: str
    events: list[str]
    active: bool
    disabled_reason: str | None
    disabled_at: datetime | None
    secret: str
    previous_secret_until: datetime | None
    auth_type: str
    auth_value: str | None
    auth_header: str | None
    oauth2: dict[str, Any] | None
    custom_headers: dict[str, str]
    max_retries: int
    retry_schedule: list[float] | None
    backoff: Backoff | None
    timeout_seconds: float
    rate_limit_per_second: float
    ordered: bool
    consecutive_failures: int
    last_success_at: datetime | None
    last_failure_at: datetime | None
    created_at: datetime
    hints: list[str] = Field(
        default_factory=list,
        description="What would surprise you, in the answers that set an endpoint",
    )


class SendEventBody(CleanText):
    """A custom event."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "tenant_id": "tenant1",
                    "event_type": "order.shipped",
                    "payload": {"order": "1234"},
                }
            ]
        },
    )

    tenant_id: Name | None = None
    event_type: EventName
    payload: dict[str, Any]
    idempotency_key: Annotated[str, StringConstraints(min_length=1, max_length=255)] | None = None
    target_url: str | None = Field(default=None, description="Deliver to this address only")
    custom_headers: dict[HeaderName, HeaderValue] | None = Field(default=None, max_length=30)

    @field_validator("custom_headers")
    @classmethod
    def _allowed(cls, value: Any) -> Any:
        return _allowed_headers(value)


class SentEvent(BaseModel):
    """The event is durable; ``secret`` verifies a new ``target_url``, shown once."""

    success: Literal[True] = True
    event_id: str
    deliveries: list[str]
    secret: str | None = None


class AttemptView(BaseModel):
    """One request and its response."""

    run: int
    attempt: int
    at: datetime
    ok: bool
    duration_ms: float
    status: int | None
    headers: dict[str, str] | None
    body: str | None
    error: str | None


class DeliveryView(BaseModel):
    """One event to one endpoint."""

    id: str
    event_id: str
    event_type: str
    endpoint_id: str
    tenant_id: str
    status: str
    sequence: int
    attempts: int
    run: int
    next_retry_at: datetime | None
    last_status: int | None
    last_error: str | None
    created_at: datetime
    finished_at: datetime | None
    event: dict[str, Any] | None = None
    attempt_log: list[AttemptView] | None = None
    links: dict[str, str] = Field(default_factory=dict)


class DeliveryPage(BaseModel):
    """Newest first."""

    deliveries: list[DeliveryView]
    next_cursor: str | None = None


class ReplayBody(BaseModel):
    """Which dead letters and discarded events to deliver again."""

    model_config = ConfigDict(extra="forbid")

    tenant_id: Name | None = None
    endpoint_id: str | None = None
    event_type: str | None = None
    statuses: list[Literal["dead_letter", "discarded"]] | None = None
    since: IsoDatetime | None = None
    until: IsoDatetime | None = None
    dry_run: StrictBool = Field(default=True, description="Only count; nothing is delivered")
    per_second: Annotated[float, Field(gt=0, le=200)] = 20.0


class ReplayView(BaseModel):
    """How many deliveries a filter covers, and the progress of the replay."""

    id: str | None = None
    dry_run: bool = False
    total: int
    done: int = 0
    status: str
    created_at: datetime | None = None
    finished_at: datetime | None = None


class Figures(BaseModel):
    """Delivery statistics of an endpoint; latencies in milliseconds over the last 30 days."""

    endpoint_id: str
    events: int
    successes: int
    failures: int
    failed_attempts: int
    pending_retries: int
    dead_letters: int
    discarded: int
    success_rate: float | None
    latency_ms: dict[str, float | None]
    last_success_at: datetime | None
    last_failure_at: datetime | None
    per_day: list[dict[str, Any]]
