"""Updates of Meta's callback that are no message and no status, and what could not be stored."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    Column,
    Text,
)
from sqlmodel import Field, SQLModel

from pytake.database.types import json_type, time_column


class CallbackUpdate(SQLModel, table=True):
    """An update from Meta that is no status of delivery and no message, or could not be read."""

    __tablename__ = "callback_update"

    id: str = Field(primary_key=True, max_length=64)
    """A hash of account, ``entry.time``, number, field and value: a repeat is the same row."""
    tenant_id: str = Field(index=True)
    """``*`` where neither a number nor the account is anybody's here."""
    field: str
    problem: str | None = None
    """Why it was set aside; ``None`` for fields PyTake does not act on."""
    payload: Any = Field(sa_column=Column(json_type(), nullable=False))
    account_id: str | None = None
    """The WhatsApp Business account that it is about (``entry.id``)."""
    sent_at: datetime | None = time_column()
    """When Meta says that it happened (``entry.time``)."""
    received_at: datetime = time_column(nullable=False, index=True)


class SetAside(SQLModel, table=True):
    """A part of Meta's callback that could not be stored where it belongs."""

    __tablename__ = "callback_set_aside"

    id: str = Field(primary_key=True, max_length=64)
    """A hash of the body: a repeat is the same row."""
    tenant_id: str
    """The number's; ``*`` for nobody's. Only admins see any of them."""
    kind: str
    reason: str
    """The error's type: its text may hold what a person wrote."""
    account_id: str | None = None
    phone_number_id: str | None = None
    body: str = Field(sa_column=Column(Text, nullable=False))
    """A request of Meta's with this part alone, as JSON in ASCII; cut if ``size`` (bytes) is more."""
    size: int
    tries: int = 0
    tried_at: datetime | None = time_column()
    received_at: datetime = time_column(nullable=False, index=True)
