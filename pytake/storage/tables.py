"""The schema: one for SQLite and PostgreSQL, every table with ``tenant_id``.

Times are UTC. Statuses of messages are the observations of ``pytake.domain.status`` and only move
up in rank; ``pytake.storage.messages`` and ``pytake.storage.receipts`` hold the upserts.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    DateTime,
    Dialect,
    Index,
    Integer,
    LargeBinary,
    String,
    Text,
    TypeDecorator,
)
from sqlalchemy.dialects import postgresql
from sqlmodel import Field, SQLModel


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC datetime: ``timestamptz`` on PostgreSQL, sortable ISO 8601 text on SQLite."""

    impl = String(27)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        """The column's type."""
        if dialect.name == "postgresql":
            return dialect.type_descriptor(DateTime(timezone=True))
        return dialect.type_descriptor(String(27))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """To the driver."""
        if value is None or dialect.name == "postgresql":
            return value
        return iso(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """From the driver."""
        if value is None:
            return None
        if isinstance(value, str):
            value = datetime.fromisoformat(value)
        return value.astimezone(UTC)  # type: ignore[no-any-return]  # a datetime by now


def iso(value: datetime) -> str:
    """Fixed-width ISO 8601 in UTC, so that text compares as time does."""
    return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def json_type() -> Any:
    """JSON; JSONB on PostgreSQL."""
    return JSON().with_variant(postgresql.JSONB(), "postgresql")


def json_column(*, nullable: bool = True) -> Any:
    """A column of JSON."""
    return Column(json_type(), nullable=nullable)


def time_column(*, nullable: bool = True, index: bool = False) -> Any:
    """A field that holds a time."""
    return Field(default=None, sa_column=Column(UtcDateTime(), nullable=nullable, index=index))


class Message(SQLModel, table=True):
    """A message that left the queue, or of which a receipt arrived before our own record."""

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
    """Whether our own record of the outcome is in; before it only receipts are known."""
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
    """An attempt that did not end in acceptance. The accepted one is the message itself."""

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
    """A message whose first attempt somebody makes, or has made: nobody else makes one while this row
    is here. The record of the outcome removes it.
    """

    __tablename__ = "send_claim"

    message_id: str = Field(primary_key=True, max_length=80)
    tenant_id: str
    claimed_at: datetime = time_column(nullable=False, index=True)


class PhoneNumber(SQLModel, table=True):
    """One of the numbers messages go out from, and how fast it may go right now."""

    __tablename__ = "phone_number"

    id: str = Field(primary_key=True, max_length=64)
    tenant_id: str = Field(index=True)
    owned_since: datetime | None = time_column()
    """When it was moved to its tenant; ``None`` if it never was another's."""
    shared: bool = False
    """The configured number: tenants with a share of the installation's may send from it."""
    portfolio_id: str
    """Numbers of one portfolio (by default: of one WABA) share the messaging limit."""
    state: str = "active"
    """``active``, ``throttled``, ``held`` (Meta) or ``paused`` (a person)."""
    base_rate: float
    current_rate: float
    tier: str
    reported_tier: str | None = None
    """What Meta reported; goes before ``tier``."""
    reason_code: int | None = None
    reason: str | None = None
    advice: str | None = None
    state_since: datetime | None = time_column()
    rate_changed_at: datetime | None = time_column()
    next_slot_at: datetime | None = time_column()
    rate_parts: list[dict[str, Any]] | None = Field(default=None, sa_column=json_column())
    """Processes that send from it, and their parts of its rate (``pytake.domain.rate_parts``)."""
    probes: int = 0
    next_probe_at: datetime | None = time_column()
    probe_lease_until: datetime | None = time_column()


class NumberShare(SQLModel, table=True):
    """A tenant that may send from a number of another one."""

    __tablename__ = "number_share"

    tenant_id: str = Field(primary_key=True)
    phone_number_id: str = Field(primary_key=True, max_length=64)
    """``""`` is the configured number, whichever that is."""


class WindowEntry(SQLModel, table=True):
    """A recipient counted against a portfolio's messaging limit, by the last message that counts."""

    __tablename__ = "window_entry"
    __table_args__ = (Index("ix_window_entry_last", "portfolio_id", "last_at"),)

    portfolio_id: str = Field(primary_key=True, max_length=64)
    contact_key: str = Field(primary_key=True, max_length=128)
    tenant_id: str
    last_at: datetime = time_column(nullable=False)


class Contact(SQLModel, table=True):
    """A person who wrote to one of the numbers."""

    phone_number_id: str = Field(primary_key=True, max_length=64)
    contact_key: str = Field(primary_key=True, max_length=128)
    tenant_id: str = Field(index=True)
    wa_id: str | None = None
    user_id: str | None = None
    name: str | None = None
    first_inbound_at: datetime = time_column(nullable=False)
    last_inbound_at: datetime = time_column(nullable=False)


class InboundMessage(SQLModel, table=True):
    """A message a contact sent; kept once however often Meta delivers it."""

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
    """When its conversation's workflow was told; ``None`` while it is still to be."""
    handled_by: str | None = None
    """The key of the decision (``AutoReply``) it was part of."""
    group_id: str | None = None
    """The group it was written in: said to all of them, and answered to nobody."""


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


class Alert(SQLModel, table=True):
    """Something a person must know: what, since when, and what to do."""

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
    """What the title is about, where other languages need it."""
    since: datetime = time_column(nullable=False)
    ended_at: datetime | None = time_column()


class ApiKey(SQLModel, table=True):
    """An API key: only a hash of its secret part is kept."""

    __tablename__ = "api_key"

    id: str = Field(primary_key=True, max_length=32)
    tenant_id: str = Field(index=True)
    admin: bool = False
    name: str = ""
    secret_hash: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    created_at: datetime = time_column(nullable=False)
    revoked_at: datetime | None = time_column()


class ProcessHeartbeat(SQLModel, table=True):
    """A live API or worker process and what it is sending right now."""

    __tablename__ = "process_heartbeat"

    id: str = Field(primary_key=True, max_length=64)
    tenant_id: str = "*"
    kind: str
    started_at: datetime = time_column(nullable=False)
    seen_at: datetime = time_column(nullable=False, index=True)
    sending: dict[str, dict[str, int]] = Field(sa_column=Column(json_type(), nullable=False))
    """Messages in a call to Meta, by tenant and priority."""


class Watermark(SQLModel, table=True):
    """How far something that looks again and again has come: everything before ``at`` is settled."""

    name: str = Field(primary_key=True, max_length=40)
    tenant_id: str = "*"
    at: datetime = time_column(nullable=False)


class InstallSecret(SQLModel, table=True):
    """Keys made at the first migration, such as the one that hashes contacts."""

    __tablename__ = "install_secret"

    name: str = Field(primary_key=True, max_length=40)
    tenant_id: str = "*"
    value: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
