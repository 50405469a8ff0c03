"""The life of a message as a join-semilattice: statuses only move forward.

Every observation (our own record of the send, a status webhook) is a point; combining two takes
the one with the higher rank. That is commutative, associative and idempotent, so no order of
events, duplicated or not, moves a message backwards or leaves it with two endings. The SQL upserts
in ``pytake.messages.receipts`` compare the same ranks.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from pytake.whatsapp.errors import ErrorRule


class Status(StrEnum):
    """The ``status`` that the API returns."""

    PENDING = "pending"
    SCHEDULED = "scheduled"
    PROCESSING = "processing"
    RETRYING = "retrying"
    HELD = "held"
    HELD_FOR_QUALITY_ASSESSMENT = "held_for_quality_assessment"
    PAUSED = "paused"
    SENT = "sent"
    DELIVERED = "delivered"
    READ = "read"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Observation(StrEnum):
    """The last known fate of a message that has left the queue; stored with its rank."""

    CANCELLED = "cancelled"
    """The workflow was cancelled before the POST."""
    DEAD = "dead"
    """The workflow gave up: as far as PyTake knows, Meta never accepted the message."""
    ACCEPTED = "accepted"
    """Meta answered 200 with a wamid."""
    PAUSED = "paused"
    """Accepted but paused: Meta sends it later, or drops it."""
    HELD_FOR_QUALITY_ASSESSMENT = "held_for_quality_assessment"
    """Accepted but held while Meta gauges how the first recipients react to the template (template
    pacing): Meta sends it, usually within an hour, or drops it as ``failed`` with code 132015."""
    SENT = "sent"
    FAILED = "failed"
    """Meta accepted the message and reported its failure later."""
    DELIVERED = "delivered"
    READ = "read"
    PLAYED = "played"


RANK: Final[dict[Observation, int]] = {
    Observation.CANCELLED: 10,
    Observation.DEAD: 10,
    Observation.ACCEPTED: 20,
    Observation.PAUSED: 21,
    Observation.HELD_FOR_QUALITY_ASSESSMENT: 22,
    Observation.SENT: 30,
    Observation.FAILED: 40,
    Observation.DELIVERED: 50,
    Observation.READ: 60,
    Observation.PLAYED: 70,
}
"""Evidence from Meta outranks PyTake's own belief, and delivery outranks a report of failure, so the
final status does not depend on the order of arrival. ``CANCELLED`` and ``DEAD`` share a rank: a run of
the workflow ends in one of them, and the first one recorded stays."""

PUBLIC: Final[dict[Observation, Status]] = {
    Observation.CANCELLED: Status.CANCELLED,
    Observation.DEAD: Status.FAILED,
    Observation.ACCEPTED: Status.SENT,
    Observation.PAUSED: Status.PAUSED,
    Observation.HELD_FOR_QUALITY_ASSESSMENT: Status.HELD_FOR_QUALITY_ASSESSMENT,
    Observation.SENT: Status.SENT,
    Observation.FAILED: Status.FAILED,
    Observation.DELIVERED: Status.DELIVERED,
    Observation.READ: Status.READ,
    Observation.PLAYED: Status.READ,
}

DEAD_LETTERS: Final = (Observation.DEAD, Observation.FAILED)
"""Observations that make a message a dead letter."""

HELD_BY_META: Final = (Observation.PAUSED, Observation.HELD_FOR_QUALITY_ASSESSMENT)
"""Observations of a message that Meta has accepted but not sent yet."""

META_STATUSES: Final = {
    status.value: status
    for status in (
        Observation.SENT,
        Observation.DELIVERED,
        Observation.READ,
        Observation.PLAYED,
        Observation.FAILED,
    )
}
"""The ``status`` strings of Meta's webhook."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """One status that Meta reports for a message it accepted."""

    wamid: str
    observation: Observation
    at: datetime
    phone_number_id: str
    message_id: str | None = None
    """Our message id, which every send carries; ``None`` if PyTake did not send the message."""
    recipient: str | None = None
    pricing_category: str | None = None
    pricing_type: str | None = None
    billable: bool | None = None
    error: ErrorRule | None = None
    """Why it failed; ``None`` if it did not."""
    error_detail: str = ""


def accepted_as(message_status: str) -> Observation:
    """The observation for the ``message_status`` in Meta's response to the POST."""
    held = {observation.value: observation for observation in HELD_BY_META}
    return held.get(message_status, Observation.ACCEPTED)


def advance(current: Observation | None, seen: Observation) -> Observation:
    """The status after ``seen``: never one of a lower rank than ``current``."""
    if current is None or RANK[seen] > RANK[current]:
        return seen
    return current
