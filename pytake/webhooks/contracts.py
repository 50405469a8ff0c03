"""Inputs and results of the delivery workflows and activities, and their ids."""

import hashlib
from enum import StrEnum
from typing import Final

from pydantic import Field

from pytake.temporal.contract import Contract

DELIVERY_WORKFLOW: Final = "WebhookDeliveryWorkflow"


class DeliveryInput(Contract):
    """Input of WebhookDeliveryWorkflow and ``deliver_webhook``: ids and limits, no secrets."""

    delivery_id: str
    event_id: str
    endpoint_id: str
    endpoint_key: str = ""
    """Empty in deliveries started before keys existed, which use the endpoint's id."""
    tenant_id: str
    run: int = 0
    max_attempts: int
    rate: float
    timeout_seconds: float
    attempts_spent: int = 0
    waits: int = 0
    """How many times in a row there was no slot for it."""
    proven: bool = Field(default=True, exclude=True)
    """Whether the endpoint answered last time; if not, its deliveries get a lower priority at the start.
    Not part of the stored input."""

    @property
    def fairness_key(self) -> str:
        """Temporal's fairness key, by which the endpoint's deliveries share a rate."""
        return self.endpoint_key or self.endpoint_id


class DeliveryOutcome(StrEnum):
    """How ``deliver_webhook`` returned."""

    DELIVERED = "delivered"
    DISCARDED = "discarded"
    DEFERRED = "deferred"
    """It has to wait (order, concurrency): try again after ``wait_seconds``."""


class DeliveryWait(StrEnum):
    """Why a delivery is not attempted now: the reason of a deferral, and a metric label."""

    BUSY = "busy"
    """All slots of the endpoint, its tenant or the worker are taken."""
    BREAKER = "breaker_open"
    """The endpoint timed out several times in a row."""
    RESOLVER_BUSY = "resolver_busy"
    """Too many DNS lookups are running."""
    ORDER = "order"
    """The preceding delivery of the same conversation is still pending."""
    DATABASE_UNAVAILABLE = "database_unavailable"


class DeliveryResult(Contract):
    """Result of ``deliver_webhook`` and of the workflow."""

    outcome: DeliveryOutcome
    reason: str = ""
    wait_seconds: float = 0
    attempts_spent: int = 0
    waits: int = 0


class ReplayInput(Contract):
    """Input of WebhookReplayWorkflow."""

    replay_id: str
    tenant_id: str
    done: int = 0


class ReplayStep(Contract):
    """Result of ``replay_some``: how many deliveries were replayed, and whether any may be left."""

    replayed: int
    left: bool
    wait_seconds: float = 0


def endpoint_key(tenant_id: str, endpoint_id: str) -> str:
    """A key for a tenant's endpoint, unique across tenants, for use in Temporal.

    36 characters, as fairness keys have at most 64 bytes. Endpoint ids never have this form.
    """
    digest = hashlib.sha256(f"{tenant_id}\0{endpoint_id}".encode()).hexdigest()
    return f"whk_{digest[:32]}"


def deliveries_key(tenant_id: str) -> str:
    """Fairness key of a tenant's delivery workflows (their activities use the endpoint's key). 40
    characters; phone number ids never have this form.
    """
    return f"webhook-{hashlib.sha256(tenant_id.encode()).hexdigest()[:32]}"


def delivery_workflow_id(event_id: str, key: str) -> str:
    """The id of a delivery's workflow, derived from the event and the endpoint's key, so that starting it
    twice is a no-op.
    """
    return f"webhook-{event_id}-{key}"
