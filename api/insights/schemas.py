"""Response bodies of the WhatsApp metrics."""

from datetime import date, datetime
from typing import Literal

from pydantic import BaseModel, Field

from api.numbers.schemas import AlertItem
from pytake.insights.health import Deduction
from pytake.numbers.states import NumberState
from pytake.whatsapp.number_health import Entity


class SnapshotProblem(BaseModel):
    """Why the last request to Meta failed."""

    code: int | None = None
    title: str
    advice: str
    detail: str = ""


class DataAge(BaseModel):
    """The source and age of the data."""

    source: Literal["meta"] = "meta"
    fetched_at: datetime | None
    age_seconds: float | None
    stale: bool = Field(description="Snapshots were missed: see `problem`")
    problem: SnapshotProblem | None = None


class ScorePart(Deduction):
    """A deduction from the score, with an explanation."""

    title: str
    advice: str


class HealthView(BaseModel):
    """A number's health as reported by Meta."""

    phone_number_id: str
    display_phone_number: str | None
    verified_name: str | None
    status: str
    quality_rating: str
    throughput_level: str | None
    name_status: str | None
    code_verification_status: str | None
    messaging_limit: str | None
    can_send_message: str
    entities: list[Entity]
    health_score: int = Field(ge=0, le=100)
    score_parts: list[ScorePart] = Field(description="Deductions from the score")
    data: DataAge


class OwnCounts(BaseModel):
    """PyTake's own counts; each stage includes the later ones."""

    sent: int
    delivered: int
    read: int
    failed: int
    received: int


class MetaCounts(BaseModel):
    """Meta's counts; it counts no reads here."""

    sent: int
    delivered: int


class Difference(BaseModel):
    """PyTake's counts minus Meta's."""

    sent: int
    delivered: int


class Rates(BaseModel):
    """Fractions from 0 to 1; ``null`` without messages. The failure rate is of all that were tried."""

    delivery: float | None
    read: float | None
    failure: float | None


class Period(BaseModel):
    """One day (or hour) of the counts."""

    start: datetime
    end: datetime
    own: OwnCounts
    meta: MetaCounts | None = Field(description="null if no snapshot covers the period")
    difference: Difference | None


class CategoryCount(BaseModel):
    """One category of Meta's pricing."""

    category: str
    own_delivered: int = Field(description="From the receipts of PyTake's messages")
    meta_volume: int | None
    meta_cost: float | None = Field(description="In the account's currency")
    difference: int | None


class TemplateCount(BaseModel):
    """A template with PyTake's counts and, if a snapshot has them, Meta's."""

    name: str
    own: OwnCounts
    meta: dict[str, int] | None


class FailureCount(BaseModel):
    """Failures with one code."""

    code: int | None
    title: str
    count: int
    advice: str


class Timing(BaseModel):
    """Seconds from Meta's acceptance."""

    median_seconds: float | None
    p95_seconds: float | None


class Analytics(BaseModel):
    """Sent messages and their outcomes, with PyTake's and Meta's counts.

    A message counts on the day Meta accepted it; days are in UTC, like Meta's.
    """

    phone_number_id: str | None
    start: datetime
    end: datetime
    granularity: Literal["day", "hour"]
    total: OwnCounts
    meta_total: MetaCounts | None
    difference: Difference | None
    rates: Rates
    periods: list[Period]
    categories: list[CategoryCount]
    templates: list[TemplateCount]
    failures: list[FailureCount]
    time_to_delivery: Timing
    time_to_read: Timing
    data: DataAge


class Factor(BaseModel):
    """A risk found in the data, and what to do about it."""

    kind: str
    severity: Literal["info", "warning", "critical"]
    title: str
    advice: str


class QualityChange(BaseModel):
    """A change between two snapshots."""

    at: datetime
    field: str
    before: str | None
    after: str | None


class Quality(BaseModel):
    """The quality rating, its history, and risks to it."""

    phone_number_id: str
    quality_rating: str
    since: datetime | None
    history: list[QualityChange]
    risk_factors: list[Factor]
    recommendations: list[str]
    data: DataAge


class NextTier(BaseModel):
    """The next messaging limit."""

    tier: str
    daily_limit: int | None
    needed: int = Field(description="Different people to message within 7 days")
    reached: int
    eligible: bool = Field(description="Quality and status allow it")
    text: str


class Throttling(BaseModel):
    """Why a number sends below its rate."""

    state: Literal[NumberState.THROTTLED, NumberState.HELD, NumberState.PAUSED]
    since: datetime | None
    title: str
    advice: str
    next_probe_at: datetime | None


class Limits(BaseModel):
    """A number's limits, and how much of them is used."""

    phone_number_id: str
    tier: str
    tier_source: Literal["meta", "configured"]
    daily_limit: int | None = Field(
        description="Unique recipients per rolling 24 h; null: unlimited"
    )
    used: int
    remaining: int | None
    next_frees_at: datetime | None = Field(description="When the first recipient leaves the window")
    messages_per_second_allowed: float
    messages_per_second_current: float = Field(description="What PyTake allows right now")
    messages_per_second_used: float = Field(description="Accepted by Meta over the last minute")
    throttling: Throttling | None
    next_tier: NextTier | None


class Comparison(BaseModel):
    """Today so far, compared with the same hours of the same weekday a week ago."""

    date: date
    today: OwnCounts
    before: OwnCounts
    change: dict[str, float | None] = Field(
        description="Relative; null if there was nothing before"
    )


class Overview(BaseModel):
    """A number at a glance."""

    phone_number_id: str
    display_phone_number: str | None
    verified_name: str | None
    health_score: int | None
    quality_rating: str
    status: str
    state: str = Field(description="What PyTake does with it: active, throttled, held, paused")
    tier: str
    used_24h: int
    remaining_24h: int | None
    messages_per_second: float
    pending: int = Field(description="Messages in flight")


class Dashboard(BaseModel):
    """The overview of a tenant's numbers."""

    overview: list[Overview]
    comparison: Comparison
    last_7_days: OwnCounts
    rates: Rates
    alerts: list[AlertItem]
    recommendations: list[str]
    data: DataAge


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
