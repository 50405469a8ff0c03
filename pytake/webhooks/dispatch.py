"""Starting the workflows of deliveries: after the commit of their events, or by the sweep."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Final

from temporalio.client import Client
from temporalio.common import (
    Priority,
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDReusePolicy,
)
from temporalio.exceptions import WorkflowAlreadyStartedError

from pytake.clock import now
from pytake.database.engine import Database
from pytake.process.outbox import Outbox
from pytake.temporal.attributes import TENANT
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

_RPC_TIMEOUT: Final = timedelta(seconds=10)
_PROVEN: Final = PRIORITY_KEY[Urgency.NORMAL]
_UNPROVEN: Final = PRIORITY_KEY[Urgency.LOW]
"""Priority of the workflow's own tasks and of its attempts: thousands of events for endpoints that do not
answer must not delay others. The fairness key keeps one tenant from delaying another.
"""


class Dispatcher(Outbox[DeliveryInput]):
    """Starts delivery workflows; what it misses, the sweep of any worker starts."""

    items = "deliveries"

    def __init__(self, client: Client, database: Database) -> None:
        super().__init__()
        self._client = client
        self._database = database

    async def _begin(self, item: DeliveryInput) -> None:
        attributes = TypedSearchAttributes([SearchAttributePair(TENANT, item.tenant_id)])
        policy = WorkflowIDReusePolicy.REJECT_DUPLICATE
        if item.run > 0:
            policy = WorkflowIDReusePolicy.ALLOW_DUPLICATE
        with suppress(WorkflowAlreadyStartedError):
            await self._client.start_workflow(
                DELIVERY_WORKFLOW,
                item,
                id=delivery_workflow_id(item.event_id, item.endpoint_key),
                task_queue=WORKFLOW_QUEUE,
                id_reuse_policy=policy,
                search_attributes=attributes,
                priority=Priority(
                    priority_key=_PROVEN if item.proven else _UNPROVEN,
                    fairness_key=deliveries_key(item.tenant_id),
                ),
                rpc_timeout=_RPC_TIMEOUT,
            )

    async def _begun(self, items: Sequence[DeliveryInput]) -> None:
        ids = [item.delivery_id for item in items]
        await self._database.write(events.mark_dispatched, ids, now())

    async def _missed(self, skip: int) -> Sequence[DeliveryInput]:
        missed: list[DeliveryInput] = await self._database.read(events.undispatched, now(), skip)
        return missed
