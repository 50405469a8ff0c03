"""Tables of phone numbers: state and rate, alerts, and who counts against a tier."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
)
from sqlmodel import Field, SQLModel

from pytake.database.types import json_column, time_column
from pytake.numbers.states import STOPPED, NumberState


class PhoneNumber(SQLModel, table=True):
    """A number that messages go out from, and how fast it may send right now."""

    __tablename__ = "phone_number"

    id: str = Field(primary_key=True, max_length=64)
    tenant_id: str = Field(index=True)
    owned_since: datetime | None = time_column()
    """When it was moved to its tenant; ``None`` if it has had only one."""
    shared: bool = False
    """The configured number: tenants with a share of the installation's may send from it."""
    portfolio_id: str
    """Numbers of one portfolio (by default: of one WABA) share the messaging limit."""
    state: str = NumberState.ACTIVE
    """A ``NumberState``."""
    base_rate: float
    current_rate: float
    tier: str
    reported_tier: str | None = None
    """What Meta reported; takes precedence over ``tier``."""
    reason_code: int | None = None
    reason: str | None = None
    advice: str | None = None
    state_since: datetime | None = time_column()
    rate_changed_at: datetime | None = time_column()
    next_slot_at: datetime | None = time_column()
    rate_parts: list[dict[str, Any]] | None = Field(default=None, sa_column=json_column())
    """Processes that send from it, and their parts of its rate (``pytake.numbers.rate_parts``)."""
    probes: int = 0
    next_probe_at: datetime | None = time_column()
    probe_lease_until: datetime | None = time_column()

    @property
    def stopped(self) -> bool:
        """Whether sending is stopped (held or paused)."""
        return self.state in STOPPED

    @property
    def effective_rate(self) -> float:
        """Messages per second that it may send right now."""
        return 0.0 if self.stopped else self.current_rate

    @property
    def effective_tier(self) -> str:
        """Its tier: as reported by Meta, else as configured."""
        return self.reported_tier or self.tier


class NumberShare(SQLModel, table=True):
    """A tenant that may send from a number of another one."""

    __tablename__ = "number_share"

    tenant_id: str = Field(primary_key=True)
    phone_number_id: str = Field(primary_key=True, max_length=64)
    """``""`` stands for the configured number."""


class WindowEntry(SQLModel, table=True):
    """A recipient counted against a portfolio's messaging limit, by the last message that counts."""

    __tablename__ = "window_entry"
    __table_args__ = (Index("ix_window_entry_last", "portfolio_id", "last_at"),)

    portfolio_id: str = Field(primary_key=True, max_length=64)
    contact_key: str = Field(primary_key=True, max_length=128)
    tenant_id: str
    last_at: datetime = time_column(nullable=False)


class Alert(SQLModel, table=True):
    """A condition that a person must know about: what, since when, and what to do."""

    id: int | None = Field(
        default=None,
        sa_column=Column(BigInteger().with_variant(Integer(), "sqlite"), primary_key=True),
    )
    tenant_id: str = Field(index=True)
    phone_number_id: str | None = None
    kind: str
    severity: str
    code: int | None = None
    title: str
    advice: str = ""
    detail: str = ""
    """The subject of the title, from which the texts in other languages are made."""
    since: datetime = time_column(nullable=False)
    ended_at: datetime | None = time_column()
