"""MessageWorkflow: one message, from accepted to sent, dead-lettered or cancelled."""

import asyncio
from contextlib import suppress

from temporalio import exceptions, workflow
from temporalio.exceptions import (
    ActivityError,
    FailureError,
    TimeoutType,
    is_cancelled_exception,
)

with workflow.unsafe.imports_passed_through():
    from activities.messages.record import RecordActivities
    from pytake.messages.contracts import (
        EXPIRED,
        OUTCOME_UNKNOWN,
        MessageInput,
        MessageResult,
        OutcomeRecord,
        Problem,
        SendOutcome,
        SendResult,
        Wait,
    )
    from pytake.messages.failures import FailureType, SendFailure, dead_letter
    from pytake.messages.status import Observation, accepted_as
    from pytake.messages.waits import WaitReason
    from pytake.temporal.attributes import ATTEMPTS, HOLD, HOLD_UNTIL
    from pytake.whatsapp.errors import ErrorClass
    from workflows.lanes import LOOK_BEFORE_CANCEL, DirectLane, QueueLane
    from workflows.policies import RECORD_LOCAL_THRESHOLD, RECORD_RETRY, RECORD_TIMEOUT
    from workflows.receipts import find_receipt, look_back, time_until

_OUTCOME_UNKNOWN = Problem(
    error_class=ErrorClass.AMBIGUOUS,
    title="Outcome unknown",
    detail="the worker was lost during the last attempt, and no receipt arrived",
    advice="Meta may have accepted the message: ask the recipient before you retry it.",
)
_CANCELLED_TOO_LATE = _OUTCOME_UNKNOWN.model_copy(
    update={"detail": "it was cancelled after an attempt of which no receipt arrived"}
)
_MAX_WAITS = 20
"""Waits kept in a message's history: on a number on hold it may be deferred hundreds of times."""


@workflow.defn
class MessageWorkflow:
    """Sends until the message is accepted or given up, then records the outcome.

    If nothing has to wait, one local activity sends and records (``send_directly``); otherwise a
    queued activity sends and a local one records. Waits use up no attempts. A dead letter ends the
    workflow as Failed, so that the Web UI's Failed filter is the dead-letter queue.
    """

    @workflow.init
    def __init__(self, message: MessageInput) -> None:
        self._message = message
        self._cancelled = False
        self._resumed = False
        self._direct = DirectLane(message)
        self._queue = QueueLane(message)

    @workflow.signal
    def cancel(self) -> None:
        """Cancel the message; this succeeds exactly if the POST to Meta has not started."""
        self._cancelled = True
        self._queue.cancel()

    @workflow.signal
    def resume(self) -> None:
        """End the message's own wait (pair limit, full window) and try again now."""
        self._resumed = True

    @workflow.run
    async def run(self, message: MessageInput) -> MessageResult:
        """Returns when the message was accepted or cancelled; raises for a dead letter.

        Raises:
            ApplicationError: of type ``DeadLetter``, with the :class:`Problem` as its detail.
        """
        if (over := await begin_redrive(message)) is not None:
            return over
        try:
            return await self._process()
        except asyncio.CancelledError:
            # Cancelled from the Web UI: recorded like the signal, but the workflow ends as Canceled.
            result = await self._give_up()
            if result.status is not Observation.CANCELLED:
                return result
            raise

    async def _process(self) -> MessageResult:
        message = self._message
        while not self._cancelled:
            if workflow.now() >= message.expires_at:
                if sent := await self._sent_before_expiry():
                    return await self._record(Observation.ACCEPTED, sent)
                return await self._dead_letter(EXPIRED)
            lane: DirectLane | QueueLane = self._direct if self._direct.open else self._queue
            try:
                result = await lane.send()
            except FailureError as error:
                if is_cancelled_exception(error):
                    return await self._cancelled_before_post(error)
                message.attempts_spent = _attempts_spent(error, message)
                if (
                    _not_accepted(error)
                    and self._is_given_up()
                    and workflow.patched(LOOK_BEFORE_CANCEL)
                ):
                    self._direct.open = False
                    break  # it failed while it was cancelled: there is no further attempt
                settled = await self._settle(error)
                if settled is None:
                    return await self._dead_letter(_problem(error))
                result = settled
            message.attempts_spent += result.attempts_spent
            if result.outcome is SendOutcome.ACCEPTED:
                return await self._record(Observation.ACCEPTED, result)
            if _cancelled_from_outside() and workflow.patched(LOOK_BEFORE_CANCEL):
                raise asyncio.CancelledError  # the attempt was finished first
            if lane is self._direct and result.outcome is SendOutcome.REQUEUE:
                continue
            await self._wait(result)
            if message.attempts_spent >= message.max_attempts:
                found = await find_receipt(message)
                if found is None:
                    return await self._dead_letter(_OUTCOME_UNKNOWN)
                return await self._record(Observation.ACCEPTED, found)
            if workflow.info().is_continue_as_new_suggested() and not self._cancelled:
                workflow.continue_as_new(message)
        if _cancelled_from_outside() and not self._cancelled:
            raise asyncio.CancelledError
        return await self._give_up()

    def _is_given_up(self) -> bool:
        return self._cancelled or _cancelled_from_outside()

    async def _give_up(self) -> MessageResult:
        """Record a cancelled message: as cancelled if none of its attempts can have reached Meta, as
        accepted if one did, as a dead letter if that is unknown.

        Raises:
            ApplicationError: of type ``DeadLetter``.
        """
        direct = self._direct.open
        if sent := await self._direct.withdraw():
            return await self._record(Observation.ACCEPTED, sent)
        if (self._message.attempts_spent or not direct) and workflow.patched(LOOK_BEFORE_CANCEL):
            found = await look_back(self._message)
            self._message.attempts_spent = max(self._message.attempts_spent, found.attempts_spent)
            if found.outcome is SendOutcome.ACCEPTED:
                return await self._record(Observation.ACCEPTED, found)
            if found.reason == OUTCOME_UNKNOWN:
                return await self._dead_letter(_CANCELLED_TOO_LATE)
        return await self._record(Observation.CANCELLED)

    async def _sent_before_expiry(self) -> SendResult | None:
        """The acceptance of an expired message, if its last attempt reached Meta after all."""
        if sent := await self._direct.withdraw():
            return sent
        if self._message.attempts_spent and workflow.patched("look-before-expiry"):
            return await find_receipt(self._message)
        return None

    async def _cancelled_before_post(self, error: FailureError) -> MessageResult:
        """The send was cancelled before it reached Meta: by our signal, or by cancellation of the whole
        workflow, which is raised again.
        """
        if not self._cancelled:
            raise asyncio.CancelledError from error
        return await self._give_up()

    async def _settle(self, error: FailureError) -> SendResult | None:
        """The receipt of a message whose last attempt ended ambiguously, if one arrives in time."""
        cause = _cause(error)
        timeout = cause.type if isinstance(cause, exceptions.TimeoutError) else None
        failure = SendFailure.read(cause)
        ambiguous = failure is not None and failure.type is FailureType.AMBIGUOUS
        if timeout is None and not ambiguous:
            return None
        if timeout is not TimeoutType.SCHEDULE_TO_CLOSE:
            await workflow.sleep(self._message.receipt_wait_seconds)
        return await find_receipt(self._message)

    async def _wait(self, result: SendResult) -> None:
        """Note the wait in the search attributes; sleep if the wait is the message's own."""
        message = self._message
        if result.outcome is SendOutcome.RETRY and result.until is not None:
            with suppress(TimeoutError):
                await workflow.wait_condition(
                    lambda: self._cancelled or self._resumed,
                    timeout=time_until(result.until),
                    timeout_summary=f"next attempt, after: {result.reason}",
                )
            return
        message.waits.append(Wait(at=workflow.now(), reason=result.reason, until=result.until))
        del message.waits[:-_MAX_WAITS]
        if result.outcome is not SendOutcome.DEFERRED or result.until is None:
            return
        message.pair_deferrals += result.reason == WaitReason.PAIR_LIMIT
        self._resumed = False
        workflow.upsert_search_attributes(
            [
                HOLD.value_set(result.reason),
                HOLD_UNTIL.value_set(result.until),
                ATTEMPTS.value_set(message.attempts_spent),
            ]
        )
        with suppress(TimeoutError):
            await workflow.wait_condition(
                lambda: self._cancelled or self._resumed,
                timeout=min(time_until(result.until), time_until(message.expires_at)),
            )
        workflow.upsert_search_attributes([HOLD.value_unset(), HOLD_UNTIL.value_unset()])

    async def _dead_letter(self, problem: Problem) -> MessageResult:
        await self._record(Observation.DEAD, problem=problem)
        raise dead_letter(problem)

    async def _record(
        self,
        observation: Observation,
        result: SendResult | None = None,
        problem: Problem | None = None,
    ) -> MessageResult:
        message = self._message
        if result is not None:
            observation = accepted_as(result.reason)
        at = (result.accepted_at if result else None) or workflow.now()
        record = OutcomeRecord(
            message=message,
            observation=observation,
            at=at,
            wamid=result.wamid if result else None,
            wa_id=result.wa_id if result else None,
            attempts=message.attempts_spent,
            problem=problem,
        )
        if result is None or not result.recorded:
            recording = asyncio.create_task(write_outcome(record))
            try:
                buried = await asyncio.shield(recording)
            except asyncio.CancelledError:
                # A workflow cancelled now has already ended; only the record of it is missing.
                buried = await recording
            if buried is not None:
                raise dead_letter(buried)
        return MessageResult(
            message_id=message.message_id,
            status=observation,
            wamid=record.wamid,
            attempts=message.attempts_spent,
        )


async def begin_redrive(message: MessageInput) -> MessageResult | None:
    """Take a redriven message out of the dead letters; a new message needs nothing.

    Two concurrent redrives both start a run if the first run is over before the second starts; the
    second then sends nothing and returns the result of the first.
    """
    if message.generation == 0:
        return None
    over = await workflow.execute_local_activity_method(
        RecordActivities.begin_redrive,
        message,
        start_to_close_timeout=RECORD_TIMEOUT,
        retry_policy=RECORD_RETRY,
        local_retry_threshold=RECORD_LOCAL_THRESHOLD,
    )
    if over is None or workflow.info().continued_run_id is not None:
        return None  # a continued run may have a receipt by now; it looks for it itself
    return MessageResult(message_id=message.message_id, status=over)


async def write_outcome(record: OutcomeRecord) -> Problem | None:
    """Record how a run ended, however long the database is down.

    Returns:
        The problem of a cancelled message that is already a dead letter.
    """
    return await workflow.execute_local_activity_method(
        RecordActivities.record_outcome,
        record,
        start_to_close_timeout=RECORD_TIMEOUT,
        retry_policy=RECORD_RETRY,
        local_retry_threshold=RECORD_LOCAL_THRESHOLD,
    )


def _attempts_spent(error: FailureError, message: MessageInput) -> int:
    """Attempts spent when the activity gave up: the failure says so, unless the worker was lost."""
    cause = _cause(error)
    failure = SendFailure.read(cause)
    if failure is not None and failure.attempts is not None:
        return failure.attempts
    if isinstance(cause, exceptions.TimeoutError) and cause.type is TimeoutType.SCHEDULE_TO_CLOSE:
        return message.attempts_spent
    return message.max_attempts


def _cause(error: FailureError) -> BaseException | None:
    """What the activity raised; a queued activity's error is wrapped in an ``ActivityError``."""
    return error.cause if isinstance(error, ActivityError) else error


def _not_accepted(error: FailureError) -> bool:
    """Whether Meta certainly did not accept the message and the attempt would be retried."""
    failure = SendFailure.read(error)
    return failure is not None and failure.type is FailureType.TRANSIENT


def _cancelled_from_outside() -> bool:
    """Whether the whole workflow was cancelled, as from the Web UI.

    An attempt in flight is finished first, and swallows the cancellation.
    """
    return workflow.cancellation_reason() is not None


def _problem(error: FailureError) -> Problem:
    """The problem that the activity's failure carries; a timeout has none of its own."""
    cause = _cause(error)
    if failure := SendFailure.read(cause):
        return failure.problem
    if isinstance(cause, exceptions.TimeoutError) and cause.type is TimeoutType.SCHEDULE_TO_CLOSE:
        return EXPIRED
    if isinstance(cause, exceptions.TimeoutError):
        return _OUTCOME_UNKNOWN
    return Problem(
        error_class=ErrorClass.PERMANENT,
        title="Could not be sent",
        detail=str(cause or error)[:500],
        advice="See the workflow's history in the Temporal Web UI.",
    )


WORKFLOWS = (MessageWorkflow,)
