"""What the workflows and activities of deliveries take and return, and ids."""

import hashlib
from enum import StrEnum
from typing import Final

from pydantic import Field

from pytake.temporal.contract import Contract

DELIVERY_WORKFLOW: Final = "WebhookDeliveryWorkflow"


class DeliveryInput(Contract):
    """Input of WebhookDeliveryWorkflow and of ``deliver_webhook``: ids only, nothing secret."""

    delivery_id: str
    event_id: str
    endpoint_id: str
    endpoint_key: str = ""
    """Empty in deliveries that were started before there were keys: theirs is the endpoint's id."""
    tenant_id: str
    run: int = 0
    max_attempts: int
    rate: float
    timeout_seconds: float
    attempts_spent: int = 0
    waits: int = 0
    """How often, one after the other, there was no slot for it."""
    proven: bool = Field(default=True, exclude=True)
    """Whether the endpoint answered the last time: who does not is not to stand before who does. Told to
    Temporal as the priority at the start, and not in the input."""

    @property
    def fairness_key(self) -> str:
        """What the endpoint's deliveries share a rate by."""
        return self.endpoint_key or self.endpoint_id


class DeliveryOutcome(StrEnum):
    """How ``deliver_webhook`` returned."""

    DELIVERED = "delivered"
    DISCARDED = "discarded"
    DEFERRED = "deferred"
    """Not this one's turn (order, concurrency): look again after ``wait_seconds``."""


class DeliveryWait(StrEnum):
    """Why a delivery is not attempted now: the reason of a deferral, and a label of metrics."""

    BUSY = "busy"
    """The endpoint's slots, its tenant's or the worker's are taken."""
    BREAKER = "breaker_open"
    """The endpoint did not answer in time, several times in a row."""
    RESOLVER_BUSY = "resolver_busy"
    """Too many names are being looked up."""
    ORDER = "order"
    """The delivery before it, of the same conversation, is not over."""
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
    """Result of ``replay_some``: how many were replayed, and whether any are left."""

    replayed: int
    left: bool
    wait_seconds: float = 0


def endpoint_key(tenant_id: str, endpoint_id: str) -> str:
    """What stands for a tenant's endpoint in Temporal, where all tenants share one space of names.

    36 characters: fairness keys have at most 64 bytes. No endpoint's id looks like one.
    """
    digest = hashlib.sha256(f"{tenant_id}\0{endpoint_id}".encode()).hexdigest()
    return f"whk_{digest[:32]}"


def deliveries_key(tenant_id: str) -> str:
    """What a tenant's deliveries share the workers by, until each waits for its endpoint's turn; no
    number's id looks like one. 40 characters.
    """
    return f"webhook-{hashlib.sha256(tenant_id.encode()).hexdigest()[:32]}"


def delivery_workflow_id(event_id: str, key: str) -> str:
    """The id of a delivery's workflow, derived from the event and its endpoint's key: a repeat is a
    no-op.
    """
    return f"webhook-{event_id}-{key}"
