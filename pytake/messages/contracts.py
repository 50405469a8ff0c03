"""Inputs and results of the message workflows and activities, and message ids."""

import hashlib
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from pydantic import Field
from ulid import ULID

from pytake.messages.content import MessageType
from pytake.messages.status import Observation
from pytake.temporal.contract import Contract
from pytake.temporal.priority import Priority
from pytake.whatsapp.errors import ErrorClass

MESSAGE_WORKFLOW: Final = "MessageWorkflow"
SCHEDULED_WORKFLOW: Final = "ScheduledMessageWorkflow"
MESSAGE_WORKFLOWS: Final = (MESSAGE_WORKFLOW, SCHEDULED_WORKFLOW)
"""The workflows of messages in flight; each workflow's id is the message's id."""


def new_message_id() -> str:
    """A new message id, also used as the workflow id. Sorts by time."""
    return f"msg_{ULID()}"


def idempotent_message_id(tenant_id: str, key: str) -> str:
    """The message id of an ``Idempotency-Key``: the same for the same tenant and key."""
    digest = hashlib.sha256(f"{tenant_id}\0{key}".encode()).digest()
    return f"msg_{ULID.from_bytes(digest[:16])}"


class Problem(Contract):
    """Why something failed: Meta's error code (``None`` if not from Meta), class and advice."""

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
"""Reason of a result when an attempt may or may not have reached Meta."""


class Wait(Contract):
    """A wait; it does not count as an attempt."""

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
    """Attempts made by earlier activities of this message; if more than 0, look for a receipt first."""
    pair_deferrals: int = 0


class MessageInput(Contract):
    """Input of both message workflows."""

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
    """Whether the first workflow task itself may make the first attempt (``send_directly``)."""
    generation: int = 0
    """How many times the message was redriven."""
    superseded_wamids: list[str] = Field(default_factory=list)
    """Wamids of earlier generations; their receipts do not apply to this one."""
    attempts_spent: int = 0
    pair_deferrals: int = 0
    waits: list[Wait] = Field(default_factory=list)
    """Waits so far (carried across continue-as-new), newest last."""

    def request(self) -> SendRequest:
        """The input of ``send_message`` for this message."""
        return SendRequest.model_construct(
            **{name: getattr(self, name) for name in SendRequest.model_fields}
        )


class SendOutcome(StrEnum):
    """How activity ``send_message`` returned."""

    ACCEPTED = "accepted"
    REQUEUE = "requeue"
    """The number has to wait: queue the message again at once."""
    DEFERRED = "deferred"
    """This message has to wait until ``until``."""
    RETRY = "retry"
    """``send_directly``: the attempt failed; the next one is due at ``until``."""
    UNKNOWN = "unknown"
    """``find_receipt``: no receipt was found."""


class SendResult(Contract):
    """Result of activity ``send_message``."""

    outcome: SendOutcome
    wamid: str | None = None
    wa_id: str | None = None
    accepted_at: datetime | None = None
    reason: str = ""
    """If accepted: Meta's ``message_status``, or ``receipt`` if a receipt proved it. Else why it waits."""
    until: datetime | None = None
    attempts_spent: int = 0
    """Attempts this activity made, including a successful one but not a deferred one."""
    recorded: bool = False
    """``send_directly``: the acceptance is already in the database."""


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


class MessageMemo(Contract):
    """Memo of a message in flight: readable with ``describe()`` even while no worker runs."""

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
        """The memo for a message."""
        return cls.model_construct(**{name: getattr(message, name) for name in cls.model_fields})
