"""Messages, queued and finished: get, list, cancel, reschedule, retry."""

import asyncio
import math
import time
from contextlib import suppress
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Response
from temporalio.client import (
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
    WorkflowUpdateStage,
)
from temporalio.exceptions import CancelledError
from temporalio.service import RPCError, RPCStatusCode

from api.dependencies import AcceptorDep, ClientDep, DatabaseDep, NumbersDep, PrincipalDep
from api.errors import documented
from api.fields import IsoDatetime
from api.messages.dependencies import EndedMessagesDep, MessageListsDep, MessageViewsDep
from api.messages.listing import MessageQuery
from api.messages.schemas import Accepted, CancelResult, MessagePage, MessageView, RescheduleBody
from api.messages.view import MessageViews
from pytake.access.principals import Principal
from pytake.clock import now
from pytake.database.engine import Database
from pytake.messages import checks
from pytake.messages import store as messages
from pytake.messages.contracts import MessageResult, RescheduleRequest
from pytake.messages.status import DEAD_LETTERS, PUBLIC, Observation, Status
from pytake.messages.tables import Message
from pytake.problems import (
    ConflictError,
    InvalidRequestError,
    NotFoundError,
    UnauthorizedError,
    UnavailableError,
)
from pytake.reconciliation.messages import EndedMessages
from pytake.temporal.priority import Priority
from workflows.message import MessageWorkflow
from workflows.scheduled_message import ScheduledMessageWorkflow

router = APIRouter(prefix="/api/v1/queue", tags=["queue"])

_CONFIRM_SECONDS: Final = 10.0
"""How long a cancel or reschedule waits for a worker to carry it out."""
_WAKE_SECONDS: Final = 3.0

_COMMON = documented(UnauthorizedError, InvalidRequestError, UnavailableError)
_ONE = _COMMON | documented(NotFoundError)
_CHANGE = _ONE | documented(ConflictError)


@router.get("/message/{message_id}", responses=_ONE)
async def get_message(
    message_id: str, views: MessageViewsDep, principal: PrincipalDep
) -> MessageView:
    """Everything known about a message; works even if all workers are down."""
    return await views.load(principal, message_id)


@router.get("/messages", responses=_COMMON)
async def list_messages(
    lists: MessageListsDep,
    principal: PrincipalDep,
    status: Status | None = None,
    recipient: Annotated[str | None, Query(max_length=128)] = None,
    priority: Priority | None = None,
    since: IsoDatetime | None = None,
    until: IsoDatetime | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
    cursor: Annotated[str | None, Query(max_length=4096)] = None,
) -> MessagePage:
    """Messages in flight first, then finished ones, newest first; times are times of creation.

    The status of a message in flight comes from Temporal's visibility and the database, so that a page
    costs the same whatever its size: `processing` means that the first attempt has begun; `retrying`,
    that an attempt has failed (only `GET /queue/message/{id}` shows a running retry as `processing`);
    `held`, that the message waits on a timer of its own or for its number.
    """
    wanted = MessageQuery(status, recipient, priority, since, until)
    return await lists.page(principal, wanted, limit, cursor)


@router.get("/dead-letter", responses=_COMMON)
async def dead_letters(
    lists: MessageListsDep,
    principal: PrincipalDep,
    recipient: Annotated[str | None, Query(max_length=128)] = None,
    since: IsoDatetime | None = None,
    until: IsoDatetime | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
    cursor: Annotated[str | None, Query(max_length=4096)] = None,
) -> MessagePage:
    """Messages that were given up, or that Meta reported failed, newest first."""
    wanted = MessageQuery(Status.FAILED, recipient, None, since, until)
    return await lists.page(principal, wanted, limit, cursor)


@router.post(
    "/message/{message_id}/cancel",
    responses=_CHANGE
    | {202: {"model": CancelResult, "description": "No worker is up to do it yet"}},
)
async def cancel(
    message_id: str,
    response: Response,
    views: MessageViewsDep,
    client: ClientDep,
    principal: PrincipalDep,
) -> CancelResult:
    """Cancel a message. This succeeds exactly if the call to Meta has not started; otherwise 409."""
    view = await views.load(principal, message_id)
    if view.status is Status.CANCELLED:
        return CancelResult(message_id=message_id, status="cancelled")
    _refuse_finished(view)
    handle = client.get_workflow_handle(message_id, result_type=MessageResult)
    try:
        await handle.signal(MessageWorkflow.cancel)
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
    if view.status is Status.SCHEDULED:
        await _wake(handle)
    outcome = await _outcome(handle)
    if outcome is None:
        response.status_code = HTTPStatus.ACCEPTED
        return CancelResult(message_id=message_id, status="cancelling")
    if outcome is not Observation.CANCELLED:
        view = await views.load(principal, message_id)
        _refuse_finished(view)
        raise ConflictError(f"too late to cancel: the message is {PUBLIC[outcome]}")
    return CancelResult(message_id=message_id, status="cancelled")


_ACCEPTED: Final = (
    Status.HELD_FOR_QUALITY_ASSESSMENT,
    Status.PAUSED,
    Status.SENT,
    Status.DELIVERED,
    Status.READ,
)


def _refuse_finished(view: MessageView) -> None:
    if view.status in _ACCEPTED:
        raise ConflictError(f"too late to cancel: Meta accepted the message, it is {view.status}")
    if view.status is Status.FAILED:
        raise ConflictError("nothing to cancel: the message failed and is a dead letter")
    if view.status is Status.CANCELLED:
        raise ConflictError("the message is cancelled already")


async def _wake(handle: WorkflowHandle[Any, Any]) -> datetime | None:
    """Have a scheduled message whose first task is delayed handle its signals now.

    Returns:
        When it will handle them, if no worker is up to do it now.
    """
    begins = None
    with suppress(
        RPCError, WorkflowUpdateFailedError, WorkflowUpdateRPCTimeoutOrCancelledError, TimeoutError
    ):
        async with asyncio.timeout(_WAKE_SECONDS):
            begins = (await handle.describe()).execution_time
            if begins is not None and begins > now():
                await handle.start_update(
                    ScheduledMessageWorkflow.wake, wait_for_stage=WorkflowUpdateStage.ACCEPTED
                )
            return None
    return begins


async def _outcome(handle: WorkflowHandle[MessageWorkflow, MessageResult]) -> Observation | None:
    try:
        async with asyncio.timeout(_CONFIRM_SECONDS):
            return (await handle.result()).status
    except TimeoutError:
        return None
    except WorkflowFailureError as error:
        cancelled = isinstance(error.cause, CancelledError)
        return Observation.CANCELLED if cancelled else Observation.DEAD


@router.patch(
    "/message/{message_id}",
    responses=_CHANGE
    | {202: {"model": MessageView, "description": "No worker is up to do it yet"}},
)
async def reschedule(
    message_id: str,
    body: RescheduleBody,
    response: Response,
    views: MessageViewsDep,
    client: ClientDep,
    principal: PrincipalDep,
) -> MessageView:
    """Give a scheduled message another time."""
    view = await views.load(principal, message_id)
    _refuse_unscheduled(view)
    expires_at = body.expires_at
    checks.times(body.scheduled_for, expires_at, now())
    if (
        expires_at is None
        and view.expires_at
        and view.expires_at <= body.scheduled_for + timedelta(hours=1)
    ):
        expires_at = body.scheduled_for + checks.VALIDITY
    request = RescheduleRequest(scheduled_for=body.scheduled_for, expires_at=expires_at)
    handle = client.get_workflow_handle(message_id)
    try:
        await handle.signal(ScheduledMessageWorkflow.reschedule, request)
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
    begins = await _wake(handle)
    if begins is not None and body.scheduled_for < begins:
        raise UnavailableError(
            "no worker is up to bring the message forward, and it may be sent at its old time: ask again",
            headers={"Retry-After": "10"},
        )
    return await _confirm_reschedule(views, principal, response, message_id, body.scheduled_for)


def _refuse_unscheduled(view: MessageView) -> None:
    if view.status is not Status.SCHEDULED:
        raise ConflictError(
            f"only a scheduled message can be rescheduled: this one is {view.status}"
        )


async def _confirm_reschedule(
    views: MessageViews,
    principal: Principal,
    response: Response,
    message_id: str,
    wanted: datetime,
) -> MessageView:
    deadline = time.monotonic() + _CONFIRM_SECONDS
    while True:
        view = await views.load(principal, message_id)
        _refuse_unscheduled(view)
        if view.scheduled_for == wanted:
            return view
        if time.monotonic() > deadline:
            response.status_code = HTTPStatus.ACCEPTED
            return view
        await asyncio.sleep(0.1)


@router.post("/message/{message_id}/retry", status_code=HTTPStatus.ACCEPTED, responses=_CHANGE)
async def retry(
    message_id: str,
    response: Response,
    database: DatabaseDep,
    views: MessageViewsDep,
    ended: EndedMessagesDep,
    numbers: NumbersDep,
    acceptor: AcceptorDep,
    principal: PrincipalDep,
) -> Accepted:
    """Send a dead letter again: a new run of its workflow, with all attempts available again."""
    row = await database.read(messages.get, message_id)
    if row is None or not row.recorded or not principal.sees(row.tenant_id) or not row.status:
        await views.load(principal, message_id)  # 404
        row = await _settled(ended, database, message_id)
    if row is None or not row.recorded or not row.status:
        raise ConflictError("only a dead letter can be retried: this message is in flight")
    if Observation(row.status) not in DEAD_LETTERS:
        status = PUBLIC[Observation(row.status)]
        raise ConflictError(f"only a dead letter can be retried: this message is {status}")
    await numbers.sender(principal, row.tenant_id, row.phone_number_id)
    await acceptor.redrive(row)
    response.headers["Location"] = f"/api/v1/queue/message/{message_id}"
    return Accepted(message_id=message_id, status="queued")


async def _settled(ended: EndedMessages, database: Database, message_id: str) -> Message | None:
    """The row of a message; if its workflow was ended from outside, that is recorded first."""
    closed = await ended.settle(message_id, at := now())
    if closed.retry_at is not None:
        wait = math.ceil((closed.retry_at - at).total_seconds())
        raise ConflictError(
            "its workflow was ended from outside during an attempt, which may still reach Meta: "
            f"whether it was sent is known in {wait} seconds",
            headers={"Retry-After": str(wait)},
        )
    return await database.read(messages.get, message_id)
