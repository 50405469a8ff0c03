"""Looking for the receipt of a message, from its workflow: as often as it takes to know."""

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


def until(moment: datetime) -> timedelta:
    """The time that is left, a second at least."""
    return max(moment - workflow.now(), timedelta(seconds=1))


async def find_receipt(message: MessageInput) -> SendResult | None:
    """The receipt of the message, once it would have come if there is one."""
    while True:
        found = await workflow.execute_activity_method(
            ReceiptActivities.find_receipt,
            message.request(),
            start_to_close_timeout=FIND_RECEIPT_TIMEOUT,
            retry_policy=FIND_RECEIPT_RETRY,
        )
        if found.outcome is not SendOutcome.DEFERRED or found.until is None:
            break
        await workflow.sleep(until(found.until))
    return found if found.outcome is SendOutcome.ACCEPTED else None


async def look_back(message: MessageInput) -> SendResult:
    """What is known of the attempts at a message, once their receipts would have come."""
    while True:
        found = await workflow.execute_local_activity_method(
            ReceiptActivities.look_back,
            message.request(),
            start_to_close_timeout=RECORD_TIMEOUT,
            retry_policy=RECORD_RETRY,
            local_retry_threshold=RECORD_LOCAL_THRESHOLD,
        )
        if found.outcome is not SendOutcome.DEFERRED or found.until is None:
            return found
        await workflow.sleep(until(found.until))
