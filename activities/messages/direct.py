"""Local activity ``send_directly``: the first try at a message by its first workflow task itself.

The queue is for what has to wait. Where nothing waits, the task queue's share of the work (one more
activity task, one more workflow task) is over 40 % of Temporal's cost of a message: a message whose
number is free goes out at once, and is queued only if that did not work.

A workflow task may run again at any time: its worker was killed, or too slow to report. So the gate
claims such a message for its first attempt, here or from the queue, in the transaction that admits it.
Who finds it claimed posts nothing; it waits until the other try is over for certain, and looks for the
receipt, as after any attempt whose outcome is unknown.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final

import structlog
from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.messages.attempt import Attempts
from activities.messages.gate import Gate, candidate
from pytake.clock import now
from pytake.database.engine import UNAVAILABLE, Database
from pytake.messages import claims as send_claims
from pytake.messages.contracts import MessageInput, OutcomeRecord, SendOutcome, SendResult
from pytake.messages.failures import SendFailure
from pytake.messages.status import accepted_as

_log = structlog.get_logger()

_MAX_START_DELAY: Final = 5.0
"""Seconds after which nothing is posted: half the time after which the workflow task would be run
again elsewhere, possibly finishing before this one continues."""
_QUEUE: Final = SendResult(outcome=SendOutcome.REQUEUE)


class DirectSendActivities:
    """``send_directly`` for at most ``slots`` messages at once, at most half of them of one number.

    A hanging call to Meta blocks a workflow task, so a worker's other tasks need room.
    """

    def __init__(
        self,
        database: Database,
        gate: Gate,
        attempts: Attempts,
        record: Callable[[OutcomeRecord], Awaitable[object]],
        slots: int,
    ) -> None:
        self._database = database
        self._gate = gate
        self._attempts = attempts
        self._record = record
        self._slots = slots
        self._busy: Counter[str] = Counter()

    @activity.defn
    async def send_directly(self, message: MessageInput) -> SendResult:
        """Send and record the message if it can go now.

        Returns:
            ACCEPTED if sent; REQUEUE if it has to go through the queue; RETRY if the attempt failed and
            another one is due; DEFERRED as ``send_message``.

        Raises:
            ApplicationError: as ``send_message``, for the last attempt of a message.
        """
        number = message.phone_number_id
        if self._busy[number] >= max(self._slots // 2, 1) or self._busy.total() >= self._slots:
            return _QUEUE
        self._busy[number] += 1
        trying = asyncio.create_task(self._try(message))
        trying.add_done_callback(lambda _: self._busy.subtract([number]))
        while not trying.done():
            try:
                await asyncio.shield(trying)
            except asyncio.CancelledError:
                continue  # finish a POST under way even if cancelled
            except Exception:  # noqa: S110 - raised by result() below
                pass
        return trying.result()

    @activity.defn
    async def withdraw(self, message: MessageInput) -> SendResult:
        """Prevent any direct send of a message that is given up.

        Returns:
            UNKNOWN if none had started or it failed; else ACCEPTED, or DEFERRED until a receipt would
            have arrived.
        """
        claims = [(message.message_id, message.tenant_id)]
        before = await self._database.write(send_claims.claim, claims, now())
        if message.message_id not in before:
            return SendResult(outcome=SendOutcome.UNKNOWN)
        try:
            return await self._attempts.claimed(message.request(), before[message.message_id])
        except ApplicationError:
            return SendResult(outcome=SendOutcome.UNKNOWN)  # a dead letter: it was not sent

    async def _try(self, message: MessageInput) -> SendResult:
        # Counted from when the task was scheduled, so that a process paused meanwhile posts nothing late.
        age = now() - activity.info().current_attempt_scheduled_time
        post_by = time.monotonic() - age.total_seconds() + _MAX_START_DELAY
        request = message.request()
        if now() >= message.expires_at:
            return _QUEUE
        try:
            admitted = await self._gate.ask(candidate(request, direct=True))
            if admitted.claimed_at is not None:
                return await self._attempts.claimed(request, admitted.claimed_at)
        except UNAVAILABLE:
            return _QUEUE
        if admitted.opted_out or (admitted.send_at is None and admitted.until is None):
            return _QUEUE  # the queue checks if the template is marketing, and waits for the number
        try:
            result = await self._attempts.make(request, admitted, 0, post_by)
        except ApplicationError as error:
            failure = SendFailure.read(error)
            if failure is None or error.non_retryable or error.next_retry_delay is None:
                raise
            return SendResult(
                outcome=SendOutcome.RETRY,
                reason=failure.problem.title,
                until=now() + error.next_retry_delay,
                attempts_spent=1,
            )
        if result.outcome is SendOutcome.ACCEPTED:
            result.recorded = await self._recorded(message, result)
        return result

    async def _recorded(self, message: MessageInput, result: SendResult) -> bool:
        """Record the acceptance. If this fails, the workflow records it: the message is sent anyway."""
        record = OutcomeRecord(
            message=message,
            observation=accepted_as(result.reason),
            at=result.accepted_at or now(),
            wamid=result.wamid,
            wa_id=result.wa_id,
            attempts=result.attempts_spent,
        )
        try:
            await self._record(record)
        except Exception as error:
            _log.warning(
                "acceptance not recorded yet",
                message_id=message.message_id,
                error=type(error).__name__,
            )
            return False
        return True
