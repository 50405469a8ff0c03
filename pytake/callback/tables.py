"""Tables of callback updates other than messages and statuses, and of parts that were set aside."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    Column,
    Text,
)
from sqlmodel import Field, SQLModel

from pytake.database.types import json_type, time_column


class CallbackUpdate(SQLModel, table=True):
    """An update from Meta that is neither a message nor a delivery status, or could not be read."""

    __tablename__ = "callback_update"

    id: str = Field(primary_key=True, max_length=64)
    """Hash of account, ``entry.time``, number, field and value, so that a repeat is the same row."""
    tenant_id: str = Field(index=True)
    """``*`` if neither the number nor the account is known."""
    field: str
    problem: str | None = None
    """Why it could not be read; ``None`` if it could."""
    payload: Any = Field(sa_column=Column(json_type(), nullable=False))
    account_id: str | None = None
    """The WhatsApp Business account concerned (``entry.id``)."""
    sent_at: datetime | None = time_column()
    """When it happened, according to Meta (``entry.time``)."""
    received_at: datetime = time_column(nullable=False, index=True)


class SetAside(SQLModel, table=True):
    """A part of Meta's callback that could not be stored where it belongs."""

    __tablename__ = "callback_set_aside"

    id: str = Field(primary_key=True, max_length=64)
    """Hash of the body, so that a repeat is the same row."""
    tenant_id: str
    """The number's tenant; ``*`` if unknown. Only admins see these rows."""
    kind: str
    reason: str
    """The type of the error; its text may quote a message."""
    account_id: str | None = None
    phone_number_id: str | None = None
    body: str = Field(sa_column=Column(Text, nullable=False))
    """A request body with only this part, as ASCII JSON; truncated if shorter than ``size`` (bytes)."""
    size: int
    tries: int = 0
    tried_at: datetime | None = time_column()
    received_at: datetime = time_column(nullable=False, index=True)
