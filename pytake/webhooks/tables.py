"""The tables of outgoing webhooks: endpoints, events, deliveries, attempts."""

from datetime import datetime
from typing import Any

from sqlalchemy import Column, Index, LargeBinary, Text
from sqlmodel import Field, SQLModel

from pytake.database.types import json_column, time_column
from pytake.webhooks.contracts import delivery_workflow_id


class WebhookEndpoint(SQLModel, table=True):
    """A tenant's webhook receiver. All secrets are in ``sealed``.

    Tenants choose the ids, so an id is unique only within its tenant.
    """

    __tablename__ = "webhook_endpoint"

    id: str = Field(primary_key=True, max_length=64)
    tenant_id: str = Field(primary_key=True, index=True)
    key: str | None = Field(default=None, max_length=64)
    """See :func:`~pytake.webhooks.contracts.endpoint_key`; ``None`` if created before keys existed."""
    url: str
    description: str = ""
    events: list[str] = Field(sa_column=json_column(nullable=False))
    active: bool = True
    disabled_reason: str | None = None
    disabled_at: datetime | None = time_column()
    one_off: bool = False
    """Created for a ``target_url`` of ``POST /send``; receives no other events."""
    auth_type: str = "None"
    sealed: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    previous_secret_until: datetime | None = time_column()
    max_retries: int
    retry_schedule: list[float] = Field(sa_column=json_column(nullable=False))
    backoff_initial: float
    backoff_factor: float
    backoff_max: float
    backoff_jitter: float
    timeout_seconds: float
    rate_limit_per_second: float
    ordered: bool = False
    failures: int = 0
    """Failed attempts since the last success."""
    failing_since: datetime | None = time_column()
    last_success_at: datetime | None = time_column()
    last_failure_at: datetime | None = time_column()
    created_at: datetime = time_column(nullable=False)
    updated_at: datetime = time_column(nullable=False)

    @property
    def fairness_key(self) -> str:
        """The endpoint's key in Temporal: ``key``, or the id if created before keys existed."""
        return self.key or self.id


class WebhookEvent(SQLModel, table=True):
    """An event, as sent to tenants; all its deliveries carry the same id."""

    __tablename__ = "webhook_event"

    id: str = Field(primary_key=True, max_length=64)
    tenant_id: str = Field(index=True)
    type: str
    conversation: str = ""
    sequence: int
    """Position among the events of the conversation (of the tenant, if none), from 1."""
    body: str = Field(sa_column=Column(Text, nullable=False))
    """The exact text that is signed and sent."""
    sealed_headers: bytes | None = Field(default=None, sa_column=Column(LargeBinary))
    created_at: datetime = time_column(nullable=False, index=True)


class WebhookDelivery(SQLModel, table=True):
    """The delivery of one event to one endpoint."""

    __tablename__ = "webhook_delivery"
    __table_args__ = (
        Index("ix_webhook_delivery_endpoint", "endpoint_id", "status", "created_at"),
        Index("ix_webhook_delivery_tenant", "tenant_id", "created_at", "id"),
        Index("ix_webhook_delivery_order", "endpoint_id", "conversation", "sequence"),
        Index("ix_webhook_delivery_dispatch", "status", "dispatched_at", "created_at"),
    )

    id: str = Field(primary_key=True, max_length=64)
    tenant_id: str
    event_id: str = Field(index=True, max_length=64)
    event_type: str
    endpoint_id: str
    endpoint_key: str | None = Field(default=None, max_length=64)
    """The endpoint's key when this was created, which the workflow's id is derived from."""
    conversation: str = ""
    sequence: int
    status: str
    run: int = 0
    """How many times it was replayed."""
    attempts: int = 0
    """Attempts of the current run."""
    dispatched_at: datetime | None = time_column()
    """When its workflow was started; the sweep starts those left without one by a crash."""
    next_retry_at: datetime | None = time_column()
    last_status: int | None = None
    last_error: str | None = None
    created_at: datetime = time_column(nullable=False)
    finished_at: datetime | None = time_column()

    @property
    def workflow_id(self) -> str:
        """The id of its workflow."""
        return delivery_workflow_id(self.event_id, self.endpoint_key or self.endpoint_id)


class WebhookAttempt(SQLModel, table=True):
    """One request to an endpoint, and its response."""

    __tablename__ = "webhook_attempt"
    __table_args__ = (Index("ix_webhook_attempt_endpoint", "endpoint_id", "at"),)

    delivery_id: str = Field(primary_key=True, max_length=64)
    run: int = Field(primary_key=True)
    attempt: int = Field(primary_key=True)
    tenant_id: str
    endpoint_id: str
    at: datetime = time_column(nullable=False)
    ok: bool
    duration_ms: float
    status: int | None = None
    headers: dict[str, Any] | None = Field(default=None, sa_column=json_column())
    body: str | None = Field(default=None, sa_column=Column(Text))
    error: str | None = None


class ConversationSequence(SQLModel, table=True):
    """The last sequence number used in a conversation."""

    __tablename__ = "conversation_sequence"

    tenant_id: str = Field(primary_key=True, max_length=64)
    conversation: str = Field(primary_key=True, max_length=200)
    value: int


class WebhookReplay(SQLModel, table=True):
    """A replay of many deliveries: its filter, and its progress."""

    __tablename__ = "webhook_replay"

    id: str = Field(primary_key=True, max_length=64)
    tenant_id: str = Field(index=True)
    wanted: dict[str, Any] = Field(sa_column=json_column(nullable=False))
    total: int
    done: int = 0
    status: str = "running"
    per_second: float
    created_at: datetime = time_column(nullable=False)
    finished_at: datetime | None = time_column()
