"""Starting the workflows of deliveries: after the commit of their events, or by the sweeper."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Final

import structlog
from temporalio.client import Client
from temporalio.common import (
    Priority,
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDReusePolicy,
)
from temporalio.exceptions import WorkflowAlreadyStartedError

from pytake.clock import now
from pytake.database.engine import UNAVAILABLE, Database
from pytake.temporal.attributes import TENANT
from pytake.temporal.client import UNREACHABLE
from pytake.temporal.priority import PRIORITY_KEY
from pytake.temporal.priority import Priority as Urgency
from pytake.temporal.queues import WORKFLOW_QUEUE
from pytake.webhooks import events
from pytake.webhooks.contracts import (
    DELIVERY_WORKFLOW,
    DeliveryInput,
    deliveries_key,
    delivery_workflow_id,
)
from pytake.webhooks.events import Dispatch

_log = structlog.get_logger()

_AT_ONCE: Final = 20
_PROVEN: Final = PRIORITY_KEY[Urgency.NORMAL]
_UNPROVEN: Final = PRIORITY_KEY[Urgency.LOW]
"""Of the workflow's own tasks and of the attempts: thousands of events of endpoints that do not answer
stand before nobody else's, and one tenant's many not before another's few.
"""


class Dispatcher:
    """Starts delivery workflows; what it misses, the sweep of any worker starts."""

    def __init__(self, client: Client, database: Database) -> None:
        self._client = client
        self._database = database
        self._tasks: set[asyncio.Task[None]] = set()

    def soon(self, deliveries: Sequence[Dispatch]) -> None:
        """Start them in the background."""
        if deliveries:
            task = asyncio.create_task(self.start(deliveries))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def start(self, deliveries: Sequence[Dispatch]) -> None:
        """Start their workflows and note it; a failure is left to the sweep."""
        slots = asyncio.Semaphore(_AT_ONCE)

        async def one(delivery: Dispatch) -> None:
            async with slots:
                await self._start(delivery)

        try:
            await asyncio.gather(*(one(delivery) for delivery in deliveries))
            ids = [delivery.delivery_id for delivery in deliveries]
            await self._database.write(events.dispatched, ids, now())
        except (*UNREACHABLE, *UNAVAILABLE) as error:
            _log.warning(
                "deliveries left to the sweep", count=len(deliveries), error=type(error).__name__
            )

    async def _start(self, delivery: Dispatch) -> None:
        attributes = TypedSearchAttributes([SearchAttributePair(TENANT, delivery.tenant_id)])
        policy = WorkflowIDReusePolicy.REJECT_DUPLICATE
        if delivery.run > 0:
            policy = WorkflowIDReusePolicy.ALLOW_DUPLICATE
        with suppress(WorkflowAlreadyStartedError):
            await self._client.start_workflow(
                DELIVERY_WORKFLOW,
                DeliveryInput.model_validate(asdict(delivery)),
                id=delivery_workflow_id(delivery.event_id, delivery.endpoint_key),
                task_queue=WORKFLOW_QUEUE,
                id_reuse_policy=policy,
                search_attributes=attributes,
                priority=Priority(
                    priority_key=_PROVEN if delivery.proven else _UNPROVEN,
                    fairness_key=deliveries_key(delivery.tenant_id),
                ),
            )

    async def sweep(self) -> None:
        """Start deliveries that were left without a workflow."""
        missed = await self._database.read(events.undispatched, now())
        if missed:
            _log.info("starting deliveries that were left without a workflow", count=len(missed))
            await self.start(missed)
