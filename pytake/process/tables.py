"""Heartbeats of processes."""

from datetime import datetime

from sqlalchemy import (
    Column,
)
from sqlmodel import Field, SQLModel

from pytake.database.types import json_type, time_column


class ProcessHeartbeat(SQLModel, table=True):
    """A live API or worker process, and what it is sending right now."""

    __tablename__ = "process_heartbeat"

    id: str = Field(primary_key=True, max_length=64)
    tenant_id: str = "*"
    kind: str
    started_at: datetime = time_column(nullable=False)
    seen_at: datetime = time_column(nullable=False, index=True)
    sending: dict[str, dict[str, int]] = Field(sa_column=Column(json_type(), nullable=False))
    """Messages whose call to Meta is in flight, by tenant and priority."""
