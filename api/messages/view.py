"""Views of single messages: from ``describe()`` while in flight, from the database after that."""

from datetime import UTC, datetime
from typing import Final

from sqlmodel import Session
from temporalio.api.enums.v1 import PendingActivityState, PendingWorkflowTaskState
from temporalio.api.workflow.v1 import PendingActivityInfo
from temporalio.client import (
    Client,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
)
from temporalio.service import RPCError, RPCStatusCode

from api.links import WorkflowLinks
from api.messages import live as live_view
from api.messages.schemas import MessageError, MessageView, TimelineEntry
from pytake.access.principals import Principal
from pytake.database.engine import UNAVAILABLE, Database
from pytake.messages import store as messages
from pytake.messages.contracts import (
    MESSAGE_WORKFLOWS,
    SCHEDULED_WORKFLOW,
    MessageMemo,
    Wait,
)
from pytake.messages.failures import SendFailure
from pytake.messages.status import PUBLIC, RANK, Observation, Status
from pytake.messages.tables import Message, SendAttempt
from pytake.numbers import store as numbers
from pytake.numbers.tables import PhoneNumber
from pytake.problems import NotFoundError
from pytake.temporal.attributes import ATTEMPTS, HOLD, HOLD_UNTIL, MEMO_MESSAGE

_SEND_ACTIVITY: Final = "send_message"


class MessageViews:
    """Builds views of messages from Temporal and the database."""

    def __init__(self, client: Client, database: Database, links: WorkflowLinks) -> None:
        self._client = client
        self._database = database
        self._links = links

    async def load(self, principal: Principal, message_id: str) -> MessageView:
        """The view of a message.

        Raises:
            NotFoundError: it does not exist, or belongs to another tenant.
            DBAPIError: the database is down, and may know more about the message than Temporal.
        """
        description = await self._describe(message_id)
        running = description is not None and description.status is WorkflowExecutionStatus.RUNNING
        row: Message | None = None
        attempts: list[SendAttempt] = []
        memo = await _memo(description) if description else None
        try:
            row, attempts = await self._database.read(_stored, message_id)
        except UNAVAILABLE:
            if not running or description is None or not _never_tried(description, memo):
                raise
        owner = memo.tenant_id if memo else row.tenant_id if row and row.recorded else None
        if owner is None or not principal.sees(owner):
            raise _unknown(message_id)
        evidence = (
            row is not None
            and row.status is not None
            and row.status_rank >= RANK[Observation.ACCEPTED]
        )
        if (
            row is not None
            and row.recorded
            and row.status is not None
            and (not running or evidence)
        ):
            return finished(row, attempts, self._links)
        if description is None or memo is None:
            raise _unknown(message_id)
        return await self._in_flight(description, memo, attempts, row if evidence else None)

    async def _describe(self, message_id: str) -> WorkflowExecutionDescription | None:
        """The workflow of a message; ``None`` if Temporal does not know it (any more)."""
        if not 0 < len(message_id) <= 80:
            return None
        try:
            description = await self._client.get_workflow_handle(message_id).describe()
        except RPCError as error:
            if error.status in (RPCStatusCode.NOT_FOUND, RPCStatusCode.INVALID_ARGUMENT):
                return None
            raise
        return description if description.workflow_type in MESSAGE_WORKFLOWS else None

    async def _in_flight(
        self,
        description: WorkflowExecutionDescription,
        memo: MessageMemo,
        attempts: list[SendAttempt],
        row: Message | None = None,
    ) -> MessageView:
        """The view of a message whose workflow runs, or was ended from outside without a record."""
        view = live_view.queued(description, memo, attempts, self._links)
        if row is not None and row.status is not None:
            view.status, view.wamid = PUBLIC[Observation(row.status)], row.wamid
        elif description.status is not WorkflowExecutionStatus.RUNNING:
            _ended_from_outside(view, description.status)
        elif description.workflow_type == SCHEDULED_WORKFLOW:
            view.status = Status.SCHEDULED
        else:
            await self._live_status(view, description, attempts if memo.direct else None)
        return view

    async def _live_status(
        self,
        view: MessageView,
        description: WorkflowExecutionDescription,
        direct: list[SendAttempt] | None,
    ) -> None:
        activity = next(
            (
                pending
                for pending in description.raw_description.pending_activities
                if pending.activity_type.name == _SEND_ACTIVITY
            ),
            None,
        )
        if activity is None:
            reason = description.typed_search_attributes.get(HOLD)
            if reason is not None:
                live_view.waits(view, reason, description.typed_search_attributes.get(HOLD_UNTIL))
            elif direct is not None:
                _directly(view, description, direct)
            return
        started = activity.state == PendingActivityState.PENDING_ACTIVITY_STATE_STARTED
        begun = activity.attempt if started else activity.attempt - 1
        view.attempts += begun
        if begun:
            view.last_attempt_at = _time(activity, "last_started_time")
        if activity.HasField("last_failure"):
            view.error = await self._failure(activity)
        if started:
            view.status = Status.PROCESSING
        elif activity.attempt > 1:
            view.status = Status.RETRYING
            view.next_retry_at = _time(activity, "next_attempt_schedule_time") or _time(
                activity, "scheduled_time"
            )
        if not started and (stopped := await self._stopped_number(view.phone_number_id)):
            live_view.stopped(view, stopped)

    async def _stopped_number(self, phone_number_id: str) -> PhoneNumber | None:
        try:
            row: PhoneNumber | None = await self._database.read(numbers.get, phone_number_id)
        except UNAVAILABLE:
            return None
        return row if row is not None and row.stopped else None

    async def _failure(self, activity: PendingActivityInfo) -> MessageError:
        error = await self._client.data_converter.decode_failure(activity.last_failure)
        if failure := SendFailure.read(error):
            return MessageError.model_validate(failure.problem.model_dump())
        return MessageError(
            error_class="ambiguous",
            title="The worker was lost during the attempt",
            detail=str(error)[:500],
            advice="PyTake looks for a receipt, then tries again.",
        )


async def _memo(description: WorkflowExecutionDescription) -> MessageMemo | None:
    value = (await description.memo()).get(MEMO_MESSAGE)
    return MessageMemo.model_validate(value) if value else None


def _never_tried(description: WorkflowExecutionDescription, memo: MessageMemo | None) -> bool:
    """Whether Temporal alone shows that the message just waits and the database has nothing on it."""
    if description.workflow_type == SCHEDULED_WORKFLOW:
        return True
    waiting = PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED
    return (
        memo is not None
        and not memo.direct
        and not description.typed_search_attributes.get(ATTEMPTS, 0)
        and all(
            pending.state == waiting and pending.attempt == 1
            for pending in description.raw_description.pending_activities
        )
    )


def _unknown(message_id: str) -> NotFoundError:
    """The error for a message that does not exist or is not visible; it does not reveal which."""
    return NotFoundError(f"no message {message_id[:80]!r}")


def _stored(session: Session, message_id: str) -> tuple[Message | None, list[SendAttempt]]:
    return messages.get(session, message_id), messages.attempts_of(session, message_id)


def _directly(
    view: MessageView, description: WorkflowExecutionDescription, attempts: list[SendAttempt]
) -> None:
    """The status of a message with no queued activity: its workflow task may be sending it, or it
    waits for its second attempt.
    """
    task = description.raw_description.pending_workflow_task
    if task.state == PendingWorkflowTaskState.PENDING_WORKFLOW_TASK_STATE_STARTED:
        view.status = Status.PROCESSING
        view.attempts = max(view.attempts, 1)
    elif attempts and attempts[-1].next_retry_at is not None:
        live_view.failed_before(view, attempts[-1])


def _time(activity: PendingActivityInfo, field: str) -> datetime | None:
    if not activity.HasField(field):  # type: ignore[arg-type]  # one of protobuf's literal names
        return None
    moment: datetime = getattr(activity, field).ToDatetime(tzinfo=UTC)
    return moment


def _ended_from_outside(view: MessageView, status: WorkflowExecutionStatus | None) -> None:
    name = status.name.lower() if status else "unknown"
    if status is WorkflowExecutionStatus.CANCELED:
        view.status = Status.CANCELLED
        return
    view.status = Status.FAILED
    view.error = MessageError(
        error_class="permanent",
        title=f"The workflow was ended from outside ({name})",
        advice="It becomes a dead letter as soon as it is known whether it was sent; retry it then.",
    )


def finished(row: Message, attempts: list[SendAttempt], links: WorkflowLinks) -> MessageView:
    """The view of a finished message."""
    observation = Observation(row.status or Observation.ACCEPTED)
    memo = MessageMemo.model_validate(
        {**row.model_dump(include=set(MessageMemo.model_fields)), "message_id": row.id}
    )
    last = max(
        (time for time in (row.accepted_at, *(a.at for a in attempts)) if time), default=None
    )
    view = MessageView(
        message_id=row.id,
        tenant_id=row.tenant_id,
        status=PUBLIC[observation],
        to=memo.recipient,
        message_type=memo.message_type,
        priority=memo.priority,
        phone_number_id=row.phone_number_id,
        attempts=row.attempts,
        max_attempts=memo.max_attempts,
        created_at=row.created_at,
        scheduled_for=row.scheduled_for,
        expires_at=row.expires_at,
        last_attempt_at=last,
        wamid=row.wamid,
        wa_id=row.wa_id,
        reply_to=row.reply_to,
        metadata=row.labels or {},
        pricing_category=row.pricing_category,
        billable=row.billable,
        timeline=live_view.timeline(
            memo, attempts, [Wait.model_validate(w) for w in row.waits or []]
        ),
        links=links.of(row.id),
    )
    if row.error_class is not None and view.status is Status.FAILED:
        view.error = MessageError(
            code=row.error_code,
            error_class=row.error_class,
            title=row.error_title or "",
            detail=row.error_detail or "",
            advice=row.error_advice or "",
        )
    for name in ("accepted", "sent", "delivered", "read", "played", "failed", "cancelled"):
        at: datetime | None = getattr(row, f"{name}_at")
        if at is not None:
            detail = (
                row.wamid if name == "accepted" else row.error_title if name == "failed" else ""
            )
            view.timeline.append(TimelineEntry(at=at, event=name, detail=detail or ""))
    # Meta's statuses have whole seconds: entries within one second keep their order.
    view.timeline.sort(
        key=lambda entry: (entry.at.replace(microsecond=0), _ORDER.get(entry.event, 0))
    )
    return view


_ORDER: Final[dict[str, int]] = {
    name: index
    for index, name in enumerate(
        (
            "queued",
            "scheduled",
            "attempt_failed",
            "waiting",
            "accepted",
            "sent",
            "delivered",
            "read",
            "played",
            "failed",
            "cancelled",
        )
    )
}
