"""Tables of conversations: inbound messages, rules, answers."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    Column,
    Index,
)
from sqlmodel import Field, SQLModel

from pytake.database.types import json_column, json_type, time_column


class InboundMessage(SQLModel, table=True):
    """A message from a contact; stored once, however often Meta delivers it."""

    __tablename__ = "inbound_message"
    __table_args__ = (
        Index("ix_inbound_contact", "phone_number_id", "contact_key", "sent_at"),
        Index("ix_inbound_unsignalled", "signalled_at", "received_at"),
    )

    wamid: str = Field(primary_key=True, max_length=512)
    tenant_id: str = Field(index=True)
    phone_number_id: str
    contact_key: str
    type: str
    payload: dict[str, Any] = Field(sa_column=Column(json_type(), nullable=False))
    sent_at: datetime = time_column(nullable=False)
    received_at: datetime = time_column(nullable=False)
    signalled_at: datetime | None = time_column()
    """When its conversation's workflow was signalled; ``None`` until then."""
    handled_by: str | None = None
    """The key of the decision (``AutoReply``) it was part of."""
    group_id: str | None = None
    """The group it was sent to, if any; group messages are not answered."""


class Responder(SQLModel, table=True):
    """A tenant's auto-responder: ``revision`` counts the changes of its rules."""

    tenant_id: str = Field(primary_key=True, max_length=64)
    revision: int = 1
    installed_at: datetime = time_column(nullable=False)
    """When the default rules were installed; this happens only once."""


class ResponderRule(SQLModel, table=True):
    """A rule, as ``RuleFields`` in ``body``."""

    __tablename__ = "responder_rule"

    tenant_id: str = Field(primary_key=True, max_length=64)
    id: str = Field(primary_key=True, max_length=64)
    body: dict[str, Any] = Field(sa_column=json_column(nullable=False))
    created_at: datetime = time_column(nullable=False)
    updated_at: datetime = time_column(nullable=False)
    words: int | None = None
    """Its weight (:mod:`pytake.conversations.rules.budget`); ``None`` until weighed."""
    word_bytes: int | None = None
    pattern_size: int | None = None
    body_bytes: int | None = None


class BusinessHoursRow(SQLModel, table=True):
    """Business hours of a number, or (number ``""``) of all of a tenant's numbers."""

    __tablename__ = "business_hours"

    tenant_id: str = Field(primary_key=True, max_length=64)
    phone_number_id: str = Field(primary_key=True, max_length=64)
    body: dict[str, Any] = Field(sa_column=json_column(nullable=False))
    updated_at: datetime = time_column(nullable=False)


class Conversation(SQLModel, table=True):
    """The state of a conversation between a number and a contact."""

    tenant_id: str = Field(primary_key=True, max_length=64)
    phone_number_id: str = Field(primary_key=True, max_length=64)
    contact_key: str = Field(primary_key=True, max_length=128)
    menu_rule_id: str | None = None
    menu_path: list[str] | None = Field(default=None, sa_column=json_column())
    menu_at: datetime | None = time_column()
    """When the contact was last shown a menu (``menu_rule_id``, ``menu_path``), whose options a typed
    number selects."""
    handover_at: datetime | None = time_column()
    """Since when a person has the conversation; ``None`` while the bot has it."""
    handover_active_at: datetime | None = time_column()
    """The last activity during the hand-over, by the contact or the person."""
    handover_by: str | None = None
    """``rule:<id>``, ``api`` or ``phone`` (a person answered from the WhatsApp Business app)."""
    department: str | None = None
    muted_until: datetime | None = time_column()
    """Until when the loop breaker keeps the bot silent."""
    tags: list[str] = Field(default_factory=list, sa_column=json_column(nullable=False))
    uses_since: datetime | None = time_column()
    """Uses before this time (a reset) do not count."""


class AutoReply(SQLModel, table=True):
    """The decision about a burst of messages; stored once, across retries."""

    __tablename__ = "auto_reply"
    __table_args__ = (
        Index("ix_auto_reply_uses", "tenant_id", "contact_key", "rule_id", "at"),
        Index("ix_auto_reply_conversation", "tenant_id", "phone_number_id", "contact_key", "at"),
    )

    key: str = Field(primary_key=True, max_length=512)
    """The wamid of the last message of the burst, or an id of ``POST /process``."""
    tenant_id: str
    phone_number_id: str
    contact_key: str
    recipient: str
    rule_id: str | None = None
    status: str
    """``silent`` (no answer, see ``reason``), ``answered``, or ``dropped`` before it was sent."""
    reason: str = ""
    messages: list[Any] = Field(default_factory=list, sa_column=json_column(nullable=False))
    """``[message_type, content]`` of each message of the answer."""
    reply_to: str | None = None
    delay_seconds: float = 0
    at: datetime = time_column(nullable=False)
