"""WebhookDeliveryWorkflow: one event to one endpoint; WebhookReplayWorkflow: many again, paced."""

import asyncio
from contextlib import suppress
from datetime import timedelta

from temporalio import workflow
from temporalio.common import Priority
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception
from temporalio.workflow import ActivityCancellationType, ActivityHandle

with workflow.unsafe.imports_passed_through():
    from activities.webhooks.deliver import WebhookActivities
    from activities.webhooks.replay import ReplayActivities
    from pytake.temporal.queues import DELIVERY_QUEUE
    from pytake.webhooks.contracts import (
        DeliveryInput,
        DeliveryOutcome,
        DeliveryResult,
        ReplayInput,
    )
    from workflows.policies import (
        DELIVERY_HEARTBEAT,
        DELIVERY_RETRY,
        RECORD_RETRY,
        RECORD_TIMEOUT,
        REPLAY_TIMEOUT,
        UNLIMITED_RETRY,
        delivery_timeout,
    )


@workflow.defn
class WebhookDeliveryWorkflow:
    """Attempts the delivery as often as the endpoint's policy allows, then makes it a dead letter."""

    @workflow.init
    def __init__(self, delivery: DeliveryInput) -> None:
        self._delivery = delivery
        self._resumed = False
        self._retried = False
        self._attempting: ActivityHandle[DeliveryResult] | None = None

    @workflow.signal
    def resume(self) -> None:
        """End a wait for an earlier delivery or for a busy endpoint."""
        self._resumed = True

    @workflow.signal
    def retry_now(self) -> None:
        """Attempt now: cuts the back-off short; no second delivery is added."""
        self._resumed = self._retried = True
        if self._attempting is not None:
            self._attempting.cancel()

    @workflow.run
    async def run(self, delivery: DeliveryInput) -> DeliveryResult:
        """Returns when it was delivered or discarded; raises for a dead letter.

        Raises:
            ApplicationError: of type ``DeadLetter``.
        """
        while True:
            self._retried = False
            try:
                result = await self._attempt()
            except ActivityError as error:
                if is_cancelled_exception(error) and self._retried:
                    continue
                await workflow.execute_local_activity_method(
                    WebhookActivities.bury_delivery,
                    delivery,
                    start_to_close_timeout=RECORD_TIMEOUT,
                    retry_policy=RECORD_RETRY,
                )
                raise ApplicationError(str(error.cause or error)[:500], type="DeadLetter") from None
            if result.outcome is not DeliveryOutcome.DEFERRED:
                return result
            delivery.attempts_spent += result.attempts_spent
            delivery.waits = result.waits
            with suppress(TimeoutError):
                await workflow.wait_condition(
                    lambda: self._resumed, timeout=timedelta(seconds=result.wait_seconds)
                )
            self._resumed = False
            if workflow.info().is_continue_as_new_suggested():
                workflow.continue_as_new(delivery)

    async def _attempt(self) -> DeliveryResult:
        delivery = self._delivery
        self._attempting = workflow.start_activity_method(
            WebhookActivities.deliver_webhook,
            delivery,
            task_queue=DELIVERY_QUEUE,
            start_to_close_timeout=delivery_timeout(delivery),
            heartbeat_timeout=DELIVERY_HEARTBEAT,
            retry_policy=DELIVERY_RETRY,
            priority=Priority(
                priority_key=workflow.info().priority.priority_key,
                fairness_key=delivery.fairness_key,
                fairness_weight=delivery.rate,
            ),
            cancellation_type=ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        )
        try:
            return await self._attempting
        finally:
            self._attempting = None


@workflow.defn
class WebhookReplayWorkflow:
    """Replays deliveries step by step until none is left or it is cancelled."""

    @workflow.init
    def __init__(self, replay: ReplayInput) -> None:
        self._cancelled = False

    @workflow.signal
    def cancel(self) -> None:
        """Stop after the running step."""
        self._cancelled = True

    @workflow.run
    async def run(self, replay: ReplayInput) -> int:
        """Returns how many were replayed."""
        while not self._cancelled:
            step = await workflow.execute_activity_method(
                ReplayActivities.replay_some,
                replay,
                start_to_close_timeout=REPLAY_TIMEOUT,
                retry_policy=UNLIMITED_RETRY,
            )
            replay.done += step.replayed
            if not step.left:
                return replay.done
            with suppress(asyncio.TimeoutError):
                await workflow.wait_condition(
                    lambda: self._cancelled, timeout=timedelta(seconds=step.wait_seconds)
                )
            if workflow.info().is_continue_as_new_suggested() and not self._cancelled:
                workflow.continue_as_new(replay)
        await workflow.execute_activity_method(
            ReplayActivities.cancel_replay,
            replay,
            start_to_close_timeout=REPLAY_TIMEOUT,
            retry_policy=UNLIMITED_RETRY,
        )
        return replay.done


WORKFLOWS = (WebhookDeliveryWorkflow, WebhookReplayWorkflow)
