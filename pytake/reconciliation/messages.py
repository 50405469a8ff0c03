"""Records how messages ended whose workflow was ended from outside."""

from datetime import datetime, timedelta
from typing import Any, Final

import structlog
from temporalio.api.enums.v1 import PendingActivityState
from temporalio.api.workflow.v1 import PendingActivityInfo
from temporalio.client import (
    Client,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowHandle,
    WorkflowHistoryEventFilterType,
)
from temporalio.service import RPCError, RPCStatusCode

from pytake.database.engine import Database
from pytake.messages.contracts import MESSAGE_WORKFLOW, SCHEDULED_WORKFLOW, MessageInput
from pytake.process.telemetry import OUTCOMES, RECONCILED
from pytake.reconciliation import store as ended
from pytake.reconciliation.store import Closed, Ending
from pytake.temporal.attributes import EXPIRES_AT, HOLD, SCHEDULED_FOR
from pytake.webhooks.dispatch import Dispatcher

_log = structlog.get_logger()

ENDED_FROM_OUTSIDE: Final = {
    WorkflowExecutionStatus.TERMINATED: "terminated",
    WorkflowExecutionStatus.TIMED_OUT: "timed out",
    WorkflowExecutionStatus.FAILED: "failed",
    WorkflowExecutionStatus.CANCELED: "canceled",
}
"""Workflow end states that may lack a record, and their names. Our own ends (a dead letter fails the
workflow, a cancel from the Web UI cancels it) are recorded before the workflow ends."""
_FIRST_TASK: Final = 4
"""Events in a history up to the start of its first workflow task, before which nothing is tried."""


class EndedMessages:
    """Settles messages one by one; ``window`` is the time from the start of an attempt until its
    receipt must have arrived.
    """

    def __init__(
        self, client: Client, database: Database, dispatcher: Dispatcher, window: timedelta
    ) -> None:
        self._client = client
        self._database = database
        self._dispatcher = dispatcher
        self._window = window

    async def settle(self, message_id: str, at: datetime) -> Closed:
        """Record the end of a message whose workflow ended without a record.

        If an attempt may still be in flight, the result says when to try again instead. Does nothing
        if the workflow runs, or a record exists.

        Raises:
            RPCError, DBAPIError: Temporal or the database could not be reached.
        """
        description = await describe_latest(self._client, message_id)
        if description is None or description.status not in ENDED_FROM_OUTSIDE:
            return Closed()
        if description.workflow_type not in (MESSAGE_WORKFLOW, SCHEDULED_WORKFLOW):
            return Closed()
        message = await self._message(description)
        if message is None:
            RECONCILED.labels("message", "unreadable").inc()
            return Closed()
        closed: Closed = await self._database.write(
            ended.close_message, message, await self._ending(description), self._window, at
        )
        if (record := closed.record) is not None:
            self._dispatcher.soon(closed.raised)
            OUTCOMES.labels(record.observation.value, message.priority.value).inc()
            RECONCILED.labels("message", record.observation.value).inc()
            _log.warning(
                "a message's workflow was ended from outside",
                message_id=message_id,
                how=ENDED_FROM_OUTSIDE[description.status],
                recorded_as=record.observation.value,
            )
        return closed

    async def _message(self, description: WorkflowExecutionDescription) -> MessageInput | None:
        """The input of the last run, with the times set by a reschedule."""
        handle = self._client.get_workflow_handle(description.id, run_id=description.run_id)
        found: MessageInput | None = await input_of(self._client, handle, MessageInput)
        if found is None:
            return None
        known = description.typed_search_attributes
        if description.workflow_type == SCHEDULED_WORKFLOW:
            found.scheduled_for = known.get(SCHEDULED_FOR, found.scheduled_for)
            found.expires_at = known.get(EXPIRES_AT, found.expires_at)
        return found

    async def _ending(self, description: WorkflowExecutionDescription) -> Ending:
        status = description.status or WorkflowExecutionStatus.TERMINATED
        pending = next(
            (
                activity
                for activity in description.raw_description.pending_activities
                if activity.activity_type.name == "send_message"
            ),
            None,
        )
        queued = description.workflow_type == MESSAGE_WORKFLOW
        waits = description.typed_search_attributes.get(HOLD) is not None
        return Ending(
            how=ENDED_FROM_OUTSIDE[status],
            at=description.close_time or description.start_time,
            attempting=pending is not None and _reached_a_worker(pending),
            unclear=(
                queued
                and pending is None
                and not waits
                and description.history_length > _FIRST_TASK
            ),
            detail=await self._reason(description) if status in _BY_HAND else "",
        )

    async def _reason(self, description: WorkflowExecutionDescription) -> str:
        """Who terminated the workflow, and the reason they gave."""
        handle = self._client.get_workflow_handle(description.id, run_id=description.run_id)
        events = handle.fetch_history_events(
            event_filter_type=WorkflowHistoryEventFilterType.CLOSE_EVENT
        )
        async for event in events:
            ending = event.workflow_execution_terminated_event_attributes
            return f"by {ending.identity or 'somebody'}: {ending.reason or 'no reason given'}"[:300]
        return ""


_BY_HAND: Final = (WorkflowExecutionStatus.TERMINATED,)


def _reached_a_worker(activity: PendingActivityInfo) -> bool:
    """Whether an attempt was in flight, or the previous one was lost with its worker."""
    if activity.state != PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED:
        return True
    return activity.attempt > 1 and activity.last_failure.HasField("timeout_failure_info")


async def describe_latest(client: Client, workflow_id: str) -> WorkflowExecutionDescription | None:
    """The last run with a workflow id; ``None`` if Temporal does not know it."""
    try:
        return await client.get_workflow_handle(workflow_id).describe()
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return None
        raise


async def input_of(client: Client, handle: WorkflowHandle[Any, Any], kind: type) -> Any:
    """The input of a workflow; ``None`` if it cannot be read (its encryption key is gone)."""
    async for event in handle.fetch_history_events(page_size=1):
        payloads = event.workflow_execution_started_event_attributes.input.payloads
        try:
            return (await client.data_converter.decode(payloads, [kind]))[0]
        except Exception as error:
            _log.error(
                "the input of an ended workflow cannot be read: nothing can be done for it",
                workflow_id=handle.id,
                error=type(error).__name__,
            )
            return None
    return None
