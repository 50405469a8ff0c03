"""Bodies of numbers and alerts."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from pytake.numbers.states import NumberState


class NumberView(BaseModel):
    """A number and how fast it may send."""

    phone_number_id: str
    state: Literal[NumberState.ACTIVE, NumberState.THROTTLED, NumberState.HELD, NumberState.PAUSED]
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
    health_score: int | None = Field(default=None, description="null until Meta has been asked")
    health_fetched_at: datetime | None = None


class AlertItem(BaseModel):
    """A condition that needs a person's attention."""

    kind: str
    severity: Literal["warning", "critical"]
    phone_number_id: str | None
    title: str
    advice: str
    since: datetime | None


class AlertView(AlertItem):
    """An alert that stays until it is over, or ended by hand (by its ``id``)."""

    id: int
    code: int | None
    since: datetime
