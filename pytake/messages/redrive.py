"""The next run of a dead letter."""

from datetime import datetime, timedelta

from pytake.messages.checks import VALIDITY
from pytake.messages.contracts import MessageInput
from pytake.messages.options import AcceptOptions
from pytake.messages.tables import Message


def redriven(
    row: Message, rate: float, at: datetime, delay: timedelta, options: AcceptOptions
) -> MessageInput:
    """The input of the next run: with all attempts again, at ``rate`` messages a second, after ``delay``.
    Receipts for its earlier wamids are ignored.
    """
    earlier = row.superseded_wamids.split()
    return MessageInput.model_validate(
        {
            "message_id": row.id,
            "tenant_id": row.tenant_id,
            "phone_number_id": row.phone_number_id,
            "recipient": row.recipient,
            "message_type": row.message_type,
            "content": row.content,
            "priority": row.priority,
            "max_attempts": row.max_attempts,
            "created_at": row.created_at,
            "expires_at": at + delay + VALIDITY,
            "scheduled_for": at + delay if delay else None,
            "reply_to": row.reply_to,
            "metadata": row.labels or {},
            "check_window": row.check_window,
            "messages_per_second": rate,
            "send_timeout_seconds": options.call_timeout,
            "receipt_wait_seconds": options.receipt_wait,
            "fingerprint": row.fingerprint,
            "generation": row.generation + 1,
            "superseded_wamids": [*earlier, row.wamid] if row.wamid else earlier,
        }
    )
