"""ScheduledMessageWorkflow: a durable timer that continues as MessageWorkflow (same id)."""

import asyncio
from datetime import timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from pytake.messages.contracts import (
        MessageInput,
        MessageResult,
        OutcomeRecord,
        RescheduleRequest,
    )
    from pytake.messages.status import Observation
    from pytake.temporal.attributes import EXPIRES_AT, SCHEDULED_FOR
    from workflows.message import MessageWorkflow, begin_redrive, write_outcome


@workflow.defn
class ScheduledMessageWorkflow:
    """Waits until ``scheduled_for``; can be rescheduled and cancelled while it does."""

    @workflow.init
    def __init__(self, message: MessageInput) -> None:
        self._message = message
        self._cancelled = False
        self._rescheduled = False
        self._resumed = False

    @workflow.signal
    def cancel(self) -> None:
        """Cancel the message; nothing has been sent."""
        self._cancelled = True

    @workflow.signal
    def resume(self) -> None:
        """Send it now."""
        self._resumed = True

    @workflow.signal
    def reschedule(self, request: RescheduleRequest) -> None:
        """Wait until another time."""
        self._message.scheduled_for = request.scheduled_for
        if request.expires_at is not None:
            self._message.expires_at = request.expires_at
        self._rescheduled = True
        workflow.upsert_search_attributes(
            [
                SCHEDULED_FOR.value_set(request.scheduled_for),
                EXPIRES_AT.value_set(self._message.expires_at),
            ]
        )

    @workflow.update
    async def wake(self) -> None:
        """Run a delayed first workflow task now, so that waiting signals are handled."""

    @workflow.run
    async def run(self, message: MessageInput) -> MessageResult:
        """Returns if the message was cancelled; otherwise continues as MessageWorkflow."""
        if (over := await begin_redrive(message)) is not None:
            return over
        try:
            while (wait := self._remaining()) > timedelta(0) and not self._stop():
                self._rescheduled = False
                try:
                    await workflow.wait_condition(
                        lambda: self._stop() or self._rescheduled, timeout=wait
                    )
                except TimeoutError:
                    break
        except asyncio.CancelledError:
            await self._record_cancelled()
            raise
        if self._cancelled:
            return await self._record_cancelled()
        return workflow.continue_as_new(self._message, workflow=MessageWorkflow.run)

    def _stop(self) -> bool:
        return self._cancelled or self._resumed

    def _remaining(self) -> timedelta:
        scheduled_for = self._message.scheduled_for
        return scheduled_for - workflow.now() if scheduled_for else timedelta(0)

    async def _record_cancelled(self) -> MessageResult:
        record = OutcomeRecord(
            message=self._message, observation=Observation.CANCELLED, at=workflow.now(), attempts=0
        )
        await write_outcome(record)
        return MessageResult(message_id=self._message.message_id, status=Observation.CANCELLED)


WORKFLOWS = (ScheduledMessageWorkflow,)
