"""Tables of messages, their failed attempts, and the claims on their first attempts."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    Column,
    Index,
    Text,
)
from sqlmodel import Field, SQLModel

from pytake.database.types import json_type, time_column


class Message(SQLModel, table=True):
    """A message that left the queue, or whose receipt arrived before our own record."""

    __table_args__ = (
        Index("ix_message_tenant_created", "tenant_id", "created_at", "id"),
        Index("ix_message_tenant_status", "tenant_id", "status", "created_at"),
        Index("ix_message_tenant_contact", "tenant_id", "contact_key", "created_at"),
        Index("ix_message_tenant_accepted", "tenant_id", "accepted_at"),
        Index("ix_message_number_accepted", "phone_number_id", "accepted_at"),
    )

    id: str = Field(primary_key=True, max_length=80)
    tenant_id: str
    phone_number_id: str
    recorded: bool = False
    """Whether our own record of the outcome is in; until then only receipts are known."""
    generation: int = 0
    status: str | None = None
    """An ``Observation``; ``None`` while a redrive is in flight."""
    status_rank: int = 0
    recipient: str | None = None
    contact_key: str | None = None
    wa_id: str | None = None
    message_type: str | None = None
    priority: str | None = None
    content: dict[str, Any] | None = Field(default=None, sa_column=Column(json_type()))
    labels: dict[str, str] | None = Field(default=None, sa_column=Column("metadata", json_type()))
    waits: list[Any] | None = Field(default=None, sa_column=Column(json_type()))
    reply_to: str | None = None
    check_window: bool = True
    max_attempts: int | None = None
    attempts: int = 0
    fingerprint: str = ""
    wamid: str | None = Field(default=None, index=True)
    superseded_wamids: str = Field(default="", sa_column=Column(Text, nullable=False))
    error_code: int | None = None
    error_class: str | None = None
    error_title: str | None = None
    error_detail: str | None = None
    error_advice: str | None = None
    pricing_category: str | None = None
    pricing_type: str | None = None
    billable: bool | None = None
    created_at: datetime = time_column(nullable=False)
    scheduled_for: datetime | None = time_column()
    expires_at: datetime | None = time_column()
    accepted_at: datetime | None = time_column()
    sent_at: datetime | None = time_column()
    delivered_at: datetime | None = time_column()
    read_at: datetime | None = time_column()
    played_at: datetime | None = time_column()
    failed_at: datetime | None = time_column()
    cancelled_at: datetime | None = time_column()
    updated_at: datetime = time_column(nullable=False, index=True)


class SendAttempt(SQLModel, table=True):
    """An attempt that Meta did not accept. The accepted one is in the message's own row."""

    __tablename__ = "send_attempt"
    __table_args__ = (Index("ix_send_attempt_retry", "tenant_id", "next_retry_at"),)

    message_id: str = Field(primary_key=True, max_length=80)
    generation: int = Field(primary_key=True)
    attempt: int = Field(primary_key=True)
    tenant_id: str
    priority: str
    at: datetime = time_column(nullable=False)
    error_code: int | None = None
    error_class: str
    error_title: str
    error_detail: str = ""
    next_retry_at: datetime | None = time_column()


class SendClaim(SQLModel, table=True):
    """A claim on a message's first attempt: while this row exists, nobody else makes one. A further attempt
    renews it; recording the outcome removes it.
    """

    __tablename__ = "send_claim"

    message_id: str = Field(primary_key=True, max_length=80)
    tenant_id: str
    claimed_at: datetime = time_column(nullable=False, index=True)
