"""A message and a receipt, at one moment."""

from datetime import UTC, datetime, timedelta

from pytake.messages.content import MessageType
from pytake.messages.contracts import MessageInput
from pytake.messages.status import Observation, Receipt
from pytake.whatsapp.errors import rule_for

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
TENANTS = {"1": "t"}
"""The tenant of the messages' number."""


def message(
    message_id: str, generation: int = 0, superseded: list[str] | None = None
) -> MessageInput:
    return MessageInput(
        message_id=message_id,
        tenant_id="t",
        phone_number_id="1",
        recipient="5561994013828",
        message_type=MessageType.TEXT,
        content={"body": "x"},
        created_at=NOW,
        expires_at=NOW + timedelta(days=1),
        messages_per_second=80,
        send_timeout_seconds=20,
        receipt_wait_seconds=10,
        generation=generation,
        superseded_wamids=superseded or [],
    )


def receipt(
    wamid: str, seen: Observation, message_id: str | None = None, seconds: int = 0
) -> Receipt:
    return Receipt(
        wamid=wamid,
        observation=seen,
        at=NOW + timedelta(seconds=seconds),
        phone_number_id="1",
        message_id=message_id,
        recipient="556194013828",
        error=rule_for(131026) if seen is Observation.FAILED else None,
    )
