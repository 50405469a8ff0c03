"""Tables of insights: the numbers' health as reported by Meta, and Meta's counts."""

from datetime import date, datetime
from typing import Any

from sqlalchemy import BigInteger, Column, Index, Integer
from sqlmodel import Field, SQLModel

from pytake.database.types import json_column, time_column
from pytake.whatsapp.number_health import NumberHealth


class NumberSnapshot(SQLModel, table=True):
    """A number's fields as Meta last reported them, and the result of the last request."""

    __tablename__ = "number_snapshot"

    phone_number_id: str = Field(primary_key=True, max_length=64)
    tenant_id: str = Field(index=True)
    body: dict[str, Any] | None = Field(default=None, sa_column=json_column())
    """``NumberHealth``; ``None`` until Meta has answered once."""
    fetched_at: datetime | None = time_column()
    attempted_at: datetime = time_column(nullable=False)
    problem: dict[str, Any] | None = Field(default=None, sa_column=json_column())
    """Why the last request failed: code, title, detail, advice."""
    days_fetched_at: datetime | None = time_column()
    """When the daily counts were last fetched."""
    blocked_until: datetime | None = time_column()
    """Meta's budget of management calls is used up until then."""

    @property
    def health(self) -> NumberHealth | None:
        """What Meta last reported; ``None`` until it has answered once."""
        return NumberHealth.model_validate(self.body) if self.body else None


class NumberChange(SQLModel, table=True):
    """A change of a number's quality, messaging limit or status."""

    __tablename__ = "number_change"
    __table_args__ = (Index("ix_number_change", "phone_number_id", "at"),)

    id: int | None = Field(
        default=None,
        sa_column=Column(BigInteger().with_variant(Integer(), "sqlite"), primary_key=True),
    )
    tenant_id: str
    phone_number_id: str
    at: datetime = time_column(nullable=False)
    field: str
    """``quality_rating``, ``messaging_limit``, ``status`` or ``can_send_message``."""
    before: str | None = None
    after: str | None = None


class MetaDay(SQLModel, table=True):
    """Meta's counts of one number on one day (UTC); stored because Meta drops them."""

    __tablename__ = "meta_day"

    phone_number_id: str = Field(primary_key=True, max_length=64)
    day: date = Field(primary_key=True)
    tenant_id: str
    sent: int = 0
    delivered: int = 0
    categories: dict[str, Any] = Field(default_factory=dict, sa_column=json_column(nullable=False))
    """Category -> [volume, cost]."""
    fetched_at: datetime = time_column(nullable=False)


class MetaTemplateDay(SQLModel, table=True):
    """Meta's counts of one template on one day (UTC)."""

    __tablename__ = "meta_template_day"

    portfolio_id: str = Field(primary_key=True, max_length=64)
    template_id: str = Field(primary_key=True, max_length=64)
    day: date = Field(primary_key=True)
    tenant_id: str
    sent: int = 0
    delivered: int = 0
    read: int = 0
    clicked: int = 0
    fetched_at: datetime = time_column(nullable=False)
