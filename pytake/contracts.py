"""Inputs and results that cross API, workflow and activity; workflow ids.

One object each, so that fields can be added: a field added later needs a default, or running
workflows could not be read any more.
"""

import hashlib
from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from ulid import ULID

from pytake.domain.content import MessageType
from pytake.domain.errors import ErrorClass
from pytake.domain.priority import Priority
from pytake.domain.status import Observation


class Contract(BaseModel):
    """Base of everything that is stored in workflow histories."""

    model_config = ConfigDict(extra="ignore")


def new_message_id() -> str:
    """A message id; its workflow has the same id. Ordered by time."""
    return f"msg_{ULID()}"


def idempotent_message_id(tenant_id: str, key: str) -> str:
    """The message id of an ``Idempotency-Key``: the same for the same tenant and key."""
    digest = hashlib.sha256(f"{tenant_id}\0{key}".encode()).digest()
    return f"msg_{ULID.from_bytes(digest[:16])}"


def number_workflow_id(phone_number_id: str) -> str:
    """The id of the workflow that steers a number's rate."""
    return f"number-{phone_number_id}"


class Problem(Contract):
    """Why something failed: Meta's code (``None`` when it was not Meta), class and advice."""

    code: int | None = None
    error_class: ErrorClass
    title: str
    detail: str = ""
    advice: str = ""


EXPIRED = Problem(
    error_class=ErrorClass.EXPIRED,
    title="Expired before it could be sent",
    advice="The message waited longer than its validity: retry it with a later expires_at.",
)


OUTCOME_UNKNOWN = "outcome unknown"
"""Reason of a look for receipts that found none, though an attempt may have reached Meta."""


class Wait(Contract):
    """A wait that spent no attempt."""

    at: datetime
    reason: str
    until: datetime | None = None


class SendRequest(Contract):
    """Input of activity ``send_message``: one try at one message."""

    message_id: str
    tenant_id: str
    phone_number_id: str
    recipient: str
    message_type: MessageType
    content: dict[str, Any]
    priority: Priority
    reply_to: str | None = None
    expires_at: datetime
    generation: int = 0
    superseded_wamids: list[str] = Field(default_factory=list)
    max_attempts: int
    attempts_spent: int = 0
    """Attempts of earlier activities of this message; more than 0 makes a look for receipts due."""
    pair_deferrals: int = 0


class MessageInput(Contract):
    """A message from acceptance to its end; the input of both message workflows."""

    message_id: str
    tenant_id: str
    phone_number_id: str
    recipient: str
    message_type: MessageType
    content: dict[str, Any]
    priority: Priority = Priority.NORMAL
    max_attempts: int = 5
    created_at: datetime
    expires_at: datetime
    scheduled_for: datetime | None = None
    reply_to: str | None = None
    metadata: dict[str, str] = Field(default_factory=dict)
    check_window: bool = True
    messages_per_second: float
    send_timeout_seconds: float
    """Upper bound of one call to Meta."""
    receipt_wait_seconds: float
    """How long an ambiguous attempt waits for a receipt before the next one."""
    fingerprint: str = ""
    direct: bool = False
    """Whether the first attempt may be made by the first workflow task itself (``send_directly``)."""
    generation: int = 0
    """How often the message was redriven."""
    superseded_wamids: list[str] = Field(default_factory=list)
    """Wamids of earlier generations: receipts of theirs say nothing about this one."""
    attempts_spent: int = 0
    pair_deferrals: int = 0
    waits: list[Wait] = Field(default_factory=list)
    """Waits so far (carried across continue-as-new), newest last."""

    def request(self) -> SendRequest:
        """What a try at it has to know."""
        return SendRequest.model_construct(
            **{name: getattr(self, name) for name in SendRequest.model_fields}
        )


class SendOutcome(StrEnum):
    """How activity ``send_message`` returned."""

    ACCEPTED = "accepted"
    REQUEUE = "requeue"
    """The number waits: queue the message again at once."""
    DEFERRED = "deferred"
    """This message waits until ``until``."""
    RETRY = "retry"
    """``send_directly``: the attempt failed; the next one is due at ``until``."""
    UNKNOWN = "unknown"
    """``find_receipt``: there is none."""


class SendResult(Contract):
    """Result of activity ``send_message``."""

    outcome: SendOutcome
    wamid: str | None = None
    wa_id: str | None = None
    accepted_at: datetime | None = None
    reason: str = ""
    """Of an acceptance: Meta's ``message_status``, or ``receipt`` if one told of it."""
    until: datetime | None = None
    attempts_spent: int = 0
    """Attempts this activity spent: the successful one included, the deferred one not."""
    recorded: bool = False
    """``send_directly``: the acceptance is in the database already."""


class OutcomeRecord(Contract):
    """Input of local activity ``record_outcome``: how one run of a message ended."""

    message: MessageInput
    observation: Observation
    at: datetime
    wamid: str | None = None
    wa_id: str | None = None
    attempts: int
    problem: Problem | None = None


class MessageResult(Contract):
    """Result of both message workflows."""

    message_id: str
    status: Observation
    wamid: str | None = None
    attempts: int = 0


class RescheduleRequest(Contract):
    """Signal ``reschedule`` of a scheduled message."""

    scheduled_for: datetime
    expires_at: datetime | None = None


class NumberInput(Contract):
    """Input of the workflow that steers one number."""

    phone_number_id: str


class NumberStep(Contract):
    """What the number's workflow does next: look again after ``wait_seconds``, or end at 0."""

    wait_seconds: float = 0
    note: str = ""


class MessageMemo(Contract):
    """What ``describe()`` tells of a message in flight, with every worker down."""

    tenant_id: str
    phone_number_id: str
    recipient: str
    message_type: MessageType
    priority: Priority
    max_attempts: int
    created_at: datetime
    expires_at: datetime
    scheduled_for: datetime | None = None
    metadata: dict[str, str] = Field(default_factory=dict)
    reply_to: str | None = None
    fingerprint: str = ""
    direct: bool = False
    generation: int = 0

    @classmethod
    def of(cls, message: MessageInput) -> "MessageMemo":
        """The memo of a message about to start."""
        return cls.model_construct(**{name: getattr(message, name) for name in cls.model_fields})


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


class ConversationInput(Contract):
    """Input of ConversationWorkflow: one contact of one number."""

    tenant_id: str
    phone_number_id: str
    contact_key: str
    debounce_seconds: float
    pending: list[str] = Field(default_factory=list)
    """Wamids that are not answered yet (carried across continue-as-new)."""


class InboundSignal(Contract):
    """Signal ``inbound``: messages of the contact, by wamid; their content is in the database."""

    wamids: list[str]


class DecideRequest(Contract):
    """Input of activity ``decide_reply``: messages that came within a short time."""

    tenant_id: str
    phone_number_id: str
    contact_key: str
    wamids: list[str]

    @property
    def key(self) -> str:
        """What makes the decision one, however often the activity is tried."""
        return self.wamids[-1]


class Decision(Contract):
    """Result of ``decide_reply``: how many messages to send, and after which delay."""

    key: str
    messages: int = 0
    delay_seconds: float = 0
    reason: str = ""


class ReplyRequest(Contract):
    """Input of ``send_reply`` and ``mark_read``: one message of an answer."""

    key: str
    index: int = 0


def reply_message_id(tenant_id: str, key: str, index: int) -> str:
    """The id of one message of an answer: the same however often it is started."""
    digest = hashlib.sha256(f"{tenant_id}\0reply\0{key}\0{index}".encode()).digest()
    return f"msg_{ULID.from_bytes(digest[:16])}"


def conversation_workflow_id(phone_number_id: str, contact_hash: str) -> str:
    """The id of a conversation's workflow; the contact is hashed, ids hold no personal data."""
    return f"conversation-{phone_number_id}-{contact_hash}"


class SnapshotInput(Contract):
    """Input of SnapshotWorkflow and its activities."""

    phone_number_ids: list[str] = Field(default_factory=list)
    """Empty for all numbers."""
    days: int = 0
    """How many days of counts to fetch; 0: the numbers' fields instead."""


class SnapshotResult(Contract):
    """Result of SnapshotWorkflow."""

    taken: int = 0
    problems: list[str] = Field(default_factory=list)


class ReconcileInput(Contract):
    """Input of ReconcileWorkflow and its activity."""

    every_seconds: float = 60.0
    """How often the schedule runs it."""


class PruneInput(Contract):
    """Input of PruneWorkflow: delete what is older than ``days``."""

    days: float
