"""Back-off, deferral, expiry and schedules of hours, on a server that skips time.

The workflows are the real ones; ``send_message`` returns scripted outcomes, because time cannot be skipped
during a call to Meta. The same paths run against the sandbox in ``tests/e2e``.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio import activity
from temporalio.client import WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

import worker
from pytake.messages.content import MessageType
from pytake.messages.contracts import (
    MessageInput,
    MessageResult,
    OutcomeRecord,
    Problem,
    RescheduleRequest,
    SendOutcome,
    SendRequest,
    SendResult,
    new_message_id,
)
from pytake.temporal import queues
from pytake.whatsapp.errors import ErrorClass
from workflows.message import MessageWorkflow
from workflows.scheduled_message import ScheduledMessageWorkflow

Step = Callable[[SendRequest, datetime], SendResult]


class Script:
    """A scripted ``send_message``; records when it was called and the outcomes."""

    def __init__(self, env: WorkflowEnvironment, *steps: Step) -> None:
        self._env = env
        self._steps = list(steps)
        self.times: list[datetime] = []
        self.requests: list[SendRequest] = []
        self.records: list[OutcomeRecord] = []

    @activity.defn(name="send_message")
    async def send_message(self, request: SendRequest) -> SendResult:
        at = await self._env.get_current_time()
        self.times.append(at)
        self.requests.append(request)
        step = self._steps.pop(0) if len(self._steps) > 1 else self._steps[0]
        return step(request, at)

    @activity.defn(name="record_outcome")
    async def record_outcome(self, record: OutcomeRecord) -> None:
        self.records.append(record)

    @activity.defn(name="begin_redrive")
    async def begin_redrive(self, message: MessageInput) -> None:
        pass

    @activity.defn(name="find_receipt")
    async def find_receipt(self, request: SendRequest) -> SendResult:
        self.times.append(await self._env.get_current_time())
        return SendResult(outcome=SendOutcome.UNKNOWN)

    @activity.defn(name="look_back")
    async def look_back(self, request: SendRequest) -> SendResult:
        return SendResult(outcome=SendOutcome.UNKNOWN)

    @property
    def delays(self) -> list[float]:
        return [
            round((b - a).total_seconds()) for a, b in zip(self.times, self.times[1:], strict=False)
        ]


def accept(request: SendRequest, at: datetime) -> SendResult:
    return SendResult(
        outcome=SendOutcome.ACCEPTED,
        wamid="w",
        accepted_at=at,
        attempts_spent=activity.info().attempt,
    )


def fail(error_class: ErrorClass, kind: str, retry: bool = True) -> Step:
    def step(request: SendRequest, at: datetime) -> SendResult:
        problem = Problem(error_class=error_class, title="x").model_dump(mode="json")
        attempts = request.attempts_spent + activity.info().attempt
        raise ApplicationError("x", problem, attempts, type=kind, non_retryable=not retry)

    return step


def defer(wait: timedelta, reason: str = "tier_window_full") -> Step:
    def step(request: SendRequest, at: datetime) -> SendResult:
        return SendResult(
            outcome=SendOutcome.DEFERRED,
            reason=reason,
            until=at + wait,
            attempts_spent=activity.info().attempt - 1,
        )

    return step


transient = fail(ErrorClass.TRANSIENT, "Transient")


@asynccontextmanager
async def running(env: WorkflowEnvironment, script: Script) -> AsyncIterator[None]:
    workers: list[dict[str, Any]] = [
        {
            "task_queue": queues.WORKFLOW_QUEUE,
            "workflows": worker.WORKFLOWS,
            "workflow_runner": worker.workflow_runner(),
            "activities": [
                script.record_outcome,
                script.begin_redrive,
                script.find_receipt,
                script.look_back,
            ],
        },
        {"task_queue": queues.SEND_QUEUE, "activities": [script.send_message]},
    ]
    async with Worker(env.client, **workers[0]), Worker(env.client, **workers[1]):
        yield


async def message(env: WorkflowEnvironment, **changes: Any) -> MessageInput:
    now = await env.get_current_time()
    values: dict[str, Any] = {
        "message_id": new_message_id(),
        "tenant_id": "t",
        "phone_number_id": "1",
        "recipient": "5561994013828",
        "message_type": MessageType.TEXT,
        "content": {"body": "x"},
        "created_at": now,
        "expires_at": now + timedelta(hours=24),
        "messages_per_second": 80.0,
        "send_timeout_seconds": 20.0,
        "receipt_wait_seconds": 10.0,
        **changes,
    }
    return MessageInput.model_validate(values)


async def start(
    env: WorkflowEnvironment, given: MessageInput
) -> WorkflowHandle[Any, MessageResult]:
    run: Any = ScheduledMessageWorkflow.run if given.scheduled_for else MessageWorkflow.run
    return await env.client.start_workflow(
        run, given, id=given.message_id, task_queue=queues.WORKFLOW_QUEUE
    )


async def test_back_off_doubles_to_five_minutes(skipping: WorkflowEnvironment) -> None:
    script = Script(skipping, transient)
    async with running(skipping, script):
        handle = await start(skipping, await message(skipping, max_attempts=12))
        with pytest.raises(WorkflowFailureError):
            await handle.result()
    assert script.delays == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]
    record = script.records[-1]
    assert (record.observation, record.attempts) == ("dead", 12)


async def test_a_deferral_of_hours_spends_no_attempt_and_keeps_the_back_off(
    skipping: WorkflowEnvironment,
) -> None:
    script = Script(skipping, transient, transient, defer(timedelta(hours=5)), transient, accept)
    async with running(skipping, script):
        handle = await start(skipping, await message(skipping, max_attempts=4))
        result = await handle.result()
    assert result.attempts == 4
    assert script.delays == [1, 2, 5 * 3600, 4]
    assert script.requests[3].attempts_spent == 2
    assert [wait.reason for wait in script.records[-1].message.waits] == ["tier_window_full"]


async def test_a_message_that_waits_too_long_expires(skipping: WorkflowEnvironment) -> None:
    script = Script(skipping, defer(timedelta(hours=23)))
    async with running(skipping, script):
        given = await message(skipping)
        handle = await start(skipping, given)
        with pytest.raises(WorkflowFailureError):
            await handle.result()
    record = script.records[-1]
    assert record.problem is not None
    assert record.problem.error_class is ErrorClass.EXPIRED
    assert given.expires_at <= record.at <= given.expires_at + timedelta(minutes=1)


async def test_resume_ends_a_wait_early(skipping: WorkflowEnvironment) -> None:
    script = Script(skipping, defer(timedelta(hours=20)), accept)
    async with running(skipping, script):
        handle = await start(skipping, await message(skipping))
        await skipping.sleep(timedelta(hours=1))
        await handle.signal(MessageWorkflow.resume)
        await handle.result()
    assert 3600 <= script.delays[0] < 3700


async def test_cancel_during_a_wait(skipping: WorkflowEnvironment) -> None:
    script = Script(skipping, defer(timedelta(hours=20)))
    async with running(skipping, script):
        handle = await start(skipping, await message(skipping))
        await skipping.sleep(timedelta(minutes=1))
        await handle.signal(MessageWorkflow.cancel)
        assert (await handle.result()).status == "cancelled"
    assert len(script.times) == 1


async def test_an_ambiguous_end_waits_for_a_receipt_before_it_is_a_dead_letter(
    skipping: WorkflowEnvironment,
) -> None:
    script = Script(skipping, fail(ErrorClass.AMBIGUOUS, "Ambiguous"))
    async with running(skipping, script):
        handle = await start(skipping, await message(skipping, max_attempts=1))
        with pytest.raises(WorkflowFailureError):
            await handle.result()
    assert script.delays == [10]


async def test_a_schedule_of_a_month_is_kept(skipping: WorkflowEnvironment) -> None:
    script = Script(skipping, accept)
    async with running(skipping, script):
        at = await skipping.get_current_time() + timedelta(days=30)
        handle = await start(
            skipping, await message(skipping, scheduled_for=at, expires_at=at + timedelta(hours=24))
        )
        await handle.result()
    assert timedelta(0) <= script.times[0] - at < timedelta(seconds=5)


async def test_a_schedule_can_be_moved_and_cancelled(skipping: WorkflowEnvironment) -> None:
    script = Script(skipping, accept)
    async with running(skipping, script):
        start_time = await skipping.get_current_time()
        at = start_time + timedelta(days=10)
        given = await message(skipping, scheduled_for=at, expires_at=at + timedelta(hours=24))
        handle = await start(skipping, given)
        later = start_time + timedelta(days=20)
        request = RescheduleRequest(scheduled_for=later, expires_at=later + timedelta(hours=24))
        await handle.signal(ScheduledMessageWorkflow.reschedule, request)
        await handle.result()
        assert timedelta(0) <= script.times[0] - later < timedelta(seconds=5)
        other = await start(
            skipping,
            await message(
                skipping,
                scheduled_for=later + timedelta(days=5),
                expires_at=datetime(2099, 1, 1, tzinfo=UTC),
            ),
        )
        await other.signal(ScheduledMessageWorkflow.cancel)
        assert (await other.result()).status == "cancelled"
    assert len(script.times) == 1
