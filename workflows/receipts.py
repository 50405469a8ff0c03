"""Looking for the receipt of a message from its workflow, until the answer is final."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.messages.receipts import ReceiptActivities
    from pytake.messages.contracts import MessageInput, SendOutcome, SendResult
    from workflows.policies import (
        FIND_RECEIPT_RETRY,
        FIND_RECEIPT_TIMEOUT,
        RECORD_LOCAL_THRESHOLD,
        RECORD_RETRY,
        RECORD_TIMEOUT,
    )


def time_until(moment: datetime) -> timedelta:
    """The time left until ``moment``, at least one second."""
    return max(moment - workflow.now(), timedelta(seconds=1))


async def find_receipt(message: MessageInput) -> SendResult | None:
    """The receipt of the message, after waiting as long as one may take to arrive."""
    found = await _final(
        lambda: workflow.execute_activity_method(
            ReceiptActivities.find_receipt,
            message.request(),
            start_to_close_timeout=FIND_RECEIPT_TIMEOUT,
            retry_policy=FIND_RECEIPT_RETRY,
        )
    )
    return found if found.outcome is SendOutcome.ACCEPTED else None


async def look_back(message: MessageInput) -> SendResult:
    """What is known of a message's attempts, after waiting as long as receipts may take to arrive."""
    return await _final(
        lambda: workflow.execute_local_activity_method(
            ReceiptActivities.look_back,
            message.request(),
            start_to_close_timeout=RECORD_TIMEOUT,
            retry_policy=RECORD_RETRY,
            local_retry_threshold=RECORD_LOCAL_THRESHOLD,
        )
    )


async def _final(look: Callable[[], Awaitable[SendResult]]) -> SendResult:
    """Look again and again until a receipt can no longer arrive."""
    while True:
        found = await look()
        if found.outcome is not SendOutcome.DEFERRED or found.until is None:
            return found
        await workflow.sleep(time_until(found.until))
