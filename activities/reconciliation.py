"""Activity ``reconcile``: settles workflows that ended in Temporal without recording their outcome.

"Terminate" in the Web UI stops a workflow at once, as does exceeding a server limit: none of its code runs
any more, and after the namespace's retention nothing is left of it. So all workflows that ended are checked
soon after. When all is well, that is one visibility query, and one query for each table whose rows need a
workflow (``pytake.reconciliation.unattended``).
"""

from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog
from temporalio import activity
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client, WorkflowExecution, WorkflowExecutionStatus
from temporalio.exceptions import ApplicationError

from pytake.clock import now
from pytake.conversations.contracts import CONVERSATION_WORKFLOW, ConversationInput, ReplyRequest
from pytake.conversations.party import Party
from pytake.database.engine import Database
from pytake.messages.contracts import (
    MESSAGE_WORKFLOWS,
)
from pytake.process.telemetry import RECONCILED
from pytake.reconciliation import store as ended
from pytake.reconciliation.contracts import ReconcileInput
from pytake.reconciliation.messages import (
    ENDED_FROM_OUTSIDE,
    EndedMessages,
    describe_latest,
    input_of,
)
from pytake.reconciliation.unattended import Unattended
from pytake.temporal.queues import WORKFLOW_QUEUE, ByQueue
from pytake.webhooks.contracts import DELIVERY_WORKFLOW, DeliveryInput

_log = structlog.get_logger()

_MARK: Final = "reconcile"
_PAGE: Final = 1000
_OVERLAP: Final = timedelta(minutes=5)
"""How far back each run looks again, as visibility is updated asynchronously and may lag."""
_CONVERSATION_WAIT: Final = timedelta(seconds=60)
"""By then a decision or answer that was under way is over (DECIDE_TIMEOUT, REPLY_TIMEOUT)."""
_REMEMBERED: Final = 10_000
"""Settled runs that a worker remembers, so that the overlap costs nothing."""

_TYPES: Final = (*MESSAGE_WORKFLOWS, DELIVERY_WORKFLOW, CONVERSATION_WORKFLOW)
_QUERY: Final = (
    f"WorkflowType IN {_TYPES} AND (ExecutionStatus IN ('Terminated', 'TimedOut', 'Canceled') "
    f"OR (ExecutionStatus = 'Failed' AND WorkflowType != '{DELIVERY_WORKFLOW}'))"
)
"""A failed delivery workflow is excluded: it fails only after recording a dead letter. For failed messages,
one database query per page finds those without a record."""


class ReconcileActivities:
    """The activity, with its dependencies; ``bury`` ends a delivery, ``send_reply`` continues an answer."""

    def __init__(
        self,
        client: Client,
        database: Database,
        messages: EndedMessages,
        bury: Callable[[DeliveryInput, str | None], Awaitable[None]],
        send_reply: Callable[[ReplyRequest], Awaitable[str]],
        unattended: Unattended,
    ) -> None:
        self._client = client
        self._database = database
        self._messages = messages
        self._bury = bury
        self._send_reply = send_reply
        self._unattended = unattended
        self._settled: OrderedDict[str, None] = OrderedDict()

    def activities(self) -> ByQueue:
        """Those that a worker registers, by queue."""
        return {WORKFLOW_QUEUE: [self.reconcile]}

    @activity.defn
    async def reconcile(self, request: ReconcileInput) -> dict[str, int]:
        """Settle workflows that ended since the last run; returns counts by kind. Idempotent."""
        at = now()
        since = await self._database.read(ended.watermark, _MARK)
        await self._check_retention(since, at, timedelta(seconds=request.every_seconds))
        found, unsettled = await self.look(since or datetime.fromtimestamp(0, UTC), at)
        mark = min(at - _OVERLAP, *unsettled) if unsettled else at - _OVERLAP
        await self._database.write(ended.advance, _MARK, mark)
        found |= await self._unattended.settle(at)
        if found:
            _log.warning("settled workflows that ended without a record", **found)
        return found

    async def look(self, since: datetime, at: datetime) -> tuple[dict[str, int], list[datetime]]:
        """Settle workflows that ended after ``since``.

        Returns:
            Counts by kind, and the close times of workflows that could not be settled yet.
        """
        found: Counter[str] = Counter()
        unsettled: list[datetime] = []
        query = f"{_QUERY} AND CloseTime >= '{since.isoformat()}'"
        page: list[WorkflowExecution] = []
        async for execution in self._client.list_workflows(query, page_size=_PAGE):
            page.append(execution)
            if len(page) == _PAGE:
                unsettled += await self._settle_page(page, at, found)
                page = []
        unsettled += await self._settle_page(page, at, found)
        return dict(found), unsettled

    async def _settle_page(
        self, page: list[WorkflowExecution], at: datetime, found: Counter[str]
    ) -> list[datetime]:
        fresh = [item for item in page if item.run_id not in self._settled]
        ids = [item.id for item in fresh if item.workflow_type in MESSAGE_WORKFLOWS]
        unrecorded = await self._database.read(ended.unrecorded, ids) if ids else set()
        unsettled = []
        for item in fresh:
            _beat(found)
            try:
                if item.workflow_type in MESSAGE_WORKFLOWS:
                    done = item.id not in unrecorded or await self._message(item, at, found)
                elif item.workflow_type == DELIVERY_WORKFLOW:
                    done = await self._delivery(item, found)
                else:
                    done = await self._conversation(item, at, found)
            except Exception as error:
                # One that cannot be settled must not hold up the others; it is retried.
                done = False
                _log.warning(
                    "an ended workflow is not settled yet",
                    workflow_id=item.id,
                    error=type(error).__name__,
                )
            if done:
                self._remember(item.run_id)
            else:
                unsettled.append(item.close_time or at)
        return unsettled

    def _remember(self, run_id: str) -> None:
        self._settled[run_id] = None
        if len(self._settled) > _REMEMBERED:
            self._settled.popitem(last=False)

    async def _message(self, item: WorkflowExecution, at: datetime, found: Counter[str]) -> bool:
        closed = await self._messages.settle(item.id, at)
        if closed.record is not None:
            found["messages"] += 1
        return closed.retry_at is None

    async def _delivery(self, item: WorkflowExecution, found: Counter[str]) -> bool:
        """Make an unfinished delivery a dead letter, and wake the one that waits for it."""
        handle = self._client.get_workflow_handle(item.id, run_id=item.run_id)
        delivery: DeliveryInput | None = await input_of(self._client, handle, DeliveryInput)
        if delivery is None or not await self._database.read(ended.pending_delivery, delivery):
            return True
        latest = await describe_latest(self._client, item.id)
        if latest is not None and latest.run_id != item.run_id:
            return True  # another run is responsible for it
        await self._bury(delivery, f"the workflow was {_how(item)} in Temporal")
        RECONCILED.labels("delivery", "dead").inc()
        found["deliveries"] += 1
        return True

    async def _conversation(
        self, item: WorkflowExecution, at: datetime, found: Counter[str]
    ) -> bool:
        """Signal unhandled messages again, and send an answer that was decided but not sent, unless it is
        too late.
        """
        ended_at = item.close_time or at
        if at < ended_at + _CONVERSATION_WAIT:
            return False
        handle = self._client.get_workflow_handle(item.id, run_id=item.run_id)
        conversation: ConversationInput | None = await input_of(
            self._client, handle, ConversationInput
        )
        if conversation is None:
            return True
        party = Party(
            conversation.tenant_id, conversation.phone_number_id, conversation.contact_key
        )
        reply = await self._database.read(ended.last_answer, party, ended_at + _CONVERSATION_WAIT)
        if reply is not None:
            if at < reply.at + timedelta(seconds=reply.delay_seconds):
                return False
            try:
                for index in range(len(reply.messages)):
                    await self._send_reply(ReplyRequest(key=reply.key, index=index))
            except ApplicationError:
                return False  # the preceding message is still in the queue
        signalled = await self._database.write(ended.signal_again, party, ended_at)
        if signalled:
            RECONCILED.labels("conversation", "signalled").inc(signalled)
            found["inbound messages"] += signalled
        return True

    async def _check_retention(
        self, since: datetime | None, at: datetime, every: timedelta
    ) -> None:
        """Log an error if workflows may be deleted before they are checked."""
        behind = at - since if since is not None else every
        if behind <= _OVERLAP + 2 * every and since is not None:
            return
        retention = await retention_of(self._client)
        if retention < max(behind, _OVERLAP + 2 * every):
            _log.error(
                "the namespace's retention is shorter than the time since the last look: workflows "
                "that were ended from outside may be gone unseen",
                retention=str(retention),
                behind=str(behind),
            )


async def retention_of(client: Client) -> timedelta:
    """The retention of the namespace: how long it keeps ended workflows."""
    answer = await client.workflow_service.describe_namespace(
        DescribeNamespaceRequest(namespace=client.namespace)
    )
    return answer.config.workflow_execution_retention_ttl.ToTimedelta()


def _how(item: WorkflowExecution) -> str:
    return ENDED_FROM_OUTSIDE[item.status or WorkflowExecutionStatus.TERMINATED]


def _beat(found: Counter[str]) -> None:
    if activity.in_activity():
        activity.heartbeat(dict(found))
