"""Views of a message in flight: their common parts, and the view in a list."""

from datetime import datetime

from temporalio.client import WorkflowExecution

from api.links import WorkflowLinks
from api.messages.schemas import MessageError, MessageView, TimelineEntry
from pytake.messages.contracts import SCHEDULED_WORKFLOW, MessageMemo, Wait
from pytake.messages.in_flight import Known
from pytake.messages.status import Status
from pytake.messages.tables import SendAttempt
from pytake.numbers.tables import PhoneNumber
from pytake.temporal.attributes import ATTEMPTS, EXPIRES_AT, HOLD, HOLD_UNTIL, SCHEDULED_FOR
from pytake.whatsapp.errors import rule_for


def listed(
    execution: WorkflowExecution, memo: MessageMemo, known: Known, links: WorkflowLinks
) -> MessageView:
    """The view of a message in flight in a list. Unlike ``describe()``, it cannot tell whether a retry is
    running right now: it says ``retrying`` instead of ``processing``.
    """
    attempts = known.attempts.get(execution.id, [])
    view = queued(execution, memo, attempts, links)
    failed = [attempt for attempt in attempts if attempt.generation == memo.generation]
    if failed:
        failed_before(view, failed[-1])
    reason = execution.typed_search_attributes.get(HOLD)
    number = known.stopped.get(view.phone_number_id)
    if execution.workflow_type == SCHEDULED_WORKFLOW:
        view.status = Status.SCHEDULED
    elif reason is not None:
        waits(view, reason, execution.typed_search_attributes.get(HOLD_UNTIL))
    elif not failed and execution.id in known.begun:
        view.status, view.attempts = Status.PROCESSING, max(view.attempts, 1)
    elif number is not None:
        stopped(view, number)
    return view


def queued(
    execution: WorkflowExecution,
    memo: MessageMemo,
    attempts: list[SendAttempt],
    links: WorkflowLinks,
) -> MessageView:
    """The view without regard to attempts: ``pending``."""
    known = execution.typed_search_attributes
    memo = memo.model_copy(
        update={
            "scheduled_for": known.get(SCHEDULED_FOR, memo.scheduled_for),
            "expires_at": known.get(EXPIRES_AT, memo.expires_at),
        }
    )
    return MessageView(
        message_id=execution.id,
        tenant_id=memo.tenant_id,
        status=Status.PENDING,
        to=memo.recipient,
        message_type=memo.message_type,
        priority=memo.priority,
        phone_number_id=memo.phone_number_id,
        attempts=known.get(ATTEMPTS, 0),
        max_attempts=memo.max_attempts,
        created_at=memo.created_at,
        scheduled_for=memo.scheduled_for,
        expires_at=memo.expires_at,
        reply_to=memo.reply_to,
        metadata=memo.metadata,
        timeline=timeline(memo, attempts, []),
        links=links.of(execution.id),
    )


def waits(view: MessageView, reason: str, until: datetime | None) -> None:
    """Set the view to waiting on a timer of its own."""
    view.status, view.next_retry_at = Status.HELD, until
    view.error = MessageError(error_class="waiting", title=reason)


def stopped(view: MessageView, number: PhoneNumber) -> None:
    """Set the view to waiting for a number that is on hold or paused."""
    view.status = Status.HELD
    view.error = MessageError(
        code=number.reason_code,
        error_class="halt",
        title=number.reason or number.state,
        advice=number.advice or "",
    )


def failed_before(view: MessageView, last: SendAttempt) -> None:
    """Set the view to retrying after a failed attempt."""
    view.status = Status.RETRYING
    view.attempts, view.last_attempt_at = max(view.attempts, last.attempt), last.at
    view.next_retry_at = last.next_retry_at
    view.error = MessageError(
        code=last.error_code,
        error_class=last.error_class,
        title=last.error_title,
        detail=last.error_detail,
        advice=rule_for(last.error_code).advice if last.error_code is not None else "",
    )


def timeline(
    memo: MessageMemo, attempts: list[SendAttempt], waits: list[Wait]
) -> list[TimelineEntry]:
    """The events of a message so far, in order."""
    entries = [TimelineEntry(at=memo.created_at, event="queued")]
    if memo.scheduled_for:
        entries.append(
            TimelineEntry(
                at=memo.created_at, event="scheduled", detail=memo.scheduled_for.isoformat()
            )
        )
    for attempt in attempts:
        code = f"({attempt.error_code}) " if attempt.error_code is not None else ""
        retry = f", next at {attempt.next_retry_at.isoformat()}" if attempt.next_retry_at else ""
        detail = f"attempt {attempt.attempt}: {code}{attempt.error_title}{retry}"
        entries.append(TimelineEntry(at=attempt.at, event="attempt_failed", detail=detail))
    for wait in waits:
        until = f" until {wait.until.isoformat()}" if wait.until else ""
        entries.append(TimelineEntry(at=wait.at, event="waiting", detail=f"{wait.reason}{until}"))
    entries.sort(key=lambda entry: entry.at)
    return entries
