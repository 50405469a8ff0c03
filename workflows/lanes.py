"""The two lanes of a message, as its workflow sees them: direct and queued.

Each has ``send``, which makes one attempt: it returns the outcome, or raises if it failed for good.
"""

from datetime import timedelta

from temporalio import workflow
from temporalio.common import Priority
from temporalio.exceptions import FailureError, is_cancelled_exception
from temporalio.workflow import ActivityCancellationType, ActivityHandle

with workflow.unsafe.imports_passed_through():
    from activities.messages.direct import DirectSendActivities
    from activities.messages.send import SendActivities
    from pytake.messages.contracts import OUTCOME_UNKNOWN, MessageInput, SendOutcome, SendResult
    from pytake.messages.failures import SendFailure
    from pytake.temporal.priority import PRIORITY_KEY
    from pytake.temporal.queues import SEND_QUEUE
    from pytake.whatsapp.limits import dispatch_rate
    from workflows.policies import (
        RECORD_LOCAL_THRESHOLD,
        RECORD_RETRY,
        RECORD_TIMEOUT,
        SEND_DIRECTLY_RETRY,
        send_retry,
        send_timeout,
    )
    from workflows.receipts import find_receipt, time_until

LOOK_BEFORE_CANCEL = "look-before-cancel"
"""Patch id: workflows look for receipts before they report a message as cancelled."""


class DirectLane:
    """Lane 1: the first try, made and recorded by one local activity of the workflow's first task."""

    def __init__(self, message: MessageInput) -> None:
        self._message = message
        self.open = message.direct and message.attempts_spent == 0 and not message.waits
        """Whether a direct send has yet to be made, or its outcome is not known yet."""

    async def send(self) -> SendResult:
        """Make the direct send and close the lane.

        Returns ACCEPTED, RETRY, DEFERRED, or REQUEUE if the message has to go through the queue.

        Raises:
            FailureError: the send was cancelled, or the message's only attempt failed.
        """
        try:
            result = await workflow.execute_local_activity_method(
                DirectSendActivities.send_directly,
                self._message,
                start_to_close_timeout=send_timeout(self._message),
                retry_policy=SEND_DIRECTLY_RETRY,
                cancellation_type=ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            )
        except FailureError as error:
            if is_cancelled_exception(error) or SendFailure.read(error) is not None:
                raise
            result = self._unknown()
        self.open = False
        return result

    def _unknown(self) -> SendResult:
        """The result of a direct send with unknown outcome: one attempt, and time for its receipt."""
        wait = timedelta(seconds=self._message.receipt_wait_seconds)
        return SendResult(
            outcome=SendOutcome.RETRY,
            reason=OUTCOME_UNKNOWN,
            until=workflow.now() + wait,
            attempts_spent=1,
        )

    async def withdraw(self) -> SendResult | None:
        """Close the lane; return the acceptance if the direct send has run after all.

        It may have run in a workflow task that was lost, so that the workflow knows nothing of it.
        """
        if not self.open:
            return None
        self.open = False
        result = await workflow.execute_local_activity_method(
            DirectSendActivities.withdraw,
            self._message,
            start_to_close_timeout=RECORD_TIMEOUT,
            retry_policy=RECORD_RETRY,
            local_retry_threshold=RECORD_LOCAL_THRESHOLD,
        )
        if result.outcome is SendOutcome.DEFERRED and result.until is not None:
            await workflow.sleep(time_until(result.until))
            if workflow.patched(LOOK_BEFORE_CANCEL):
                self._message.attempts_spent = max(self._message.attempts_spent, 1)
            return await find_receipt(self._message)
        return result if result.outcome is SendOutcome.ACCEPTED else None


class QueueLane:
    """Lane 2: messages that wait, and all retries, at the number's rate in order of priority."""

    def __init__(self, message: MessageInput) -> None:
        self._message = message
        self._sending: ActivityHandle[SendResult] | None = None

    async def send(self) -> SendResult:
        """Return the result of ``send_message``, after the attempts that its retry policy allows.

        Raises:
            FailureError: the send was cancelled, or no attempt is left.
        """
        message = self._message
        self._sending = workflow.start_activity_method(
            SendActivities.send_message,
            message.request(),
            task_queue=SEND_QUEUE,
            start_to_close_timeout=send_timeout(message),
            schedule_to_close_timeout=time_until(message.expires_at) + send_timeout(message),
            retry_policy=send_retry(message, message.attempts_spent),
            priority=Priority(
                priority_key=PRIORITY_KEY[message.priority],
                fairness_key=message.phone_number_id,
                fairness_weight=dispatch_rate(message.messages_per_second),
            ),
            cancellation_type=ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        )
        try:
            return await self._sending
        finally:
            self._sending = None

    def cancel(self) -> None:
        """Cancel the queued send; a POST in flight is finished first."""
        if self._sending is not None:
            self._sending.cancel()
