"""Waking messages that wait on their own timer."""

import asyncio
from typing import Final

import structlog
from temporalio.api.batch.v1 import BatchOperationSignal
from temporalio.api.common.v1 import Payloads
from temporalio.api.workflowservice.v1 import StartBatchOperationRequest
from temporalio.client import Client
from temporalio.service import RPCError
from ulid import ULID

from pytake.messages.waits import WaitReason
from pytake.temporal.attributes import HOLD

_log = structlog.get_logger()

_RETRY_SECONDS: Final = (1, 2, 5, 10, 30, 60)


class Waker:
    """Wakes messages that wait on their own timer, all with the same reason in one batch operation.

    If that fails for good, they wake when their timers fire.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._tasks: set[asyncio.Task[None]] = set()

    def wake(self, reason: WaitReason) -> None:
        """Signal ``resume`` to every message that waits for ``reason``, in the background."""
        task = asyncio.create_task(self._wake(reason))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _wake(self, reason: WaitReason) -> None:
        request = StartBatchOperationRequest(
            namespace=self._client.namespace,
            job_id=f"resume-{ULID()}",
            reason=f"messages waiting for {reason}",
            visibility_query=f"ExecutionStatus = 'Running' AND {HOLD.name} = '{reason}'",
            signal_operation=BatchOperationSignal(
                signal="resume", input=Payloads(), identity=self._client.identity
            ),
        )
        for wait in _RETRY_SECONDS:
            try:
                await self._client.workflow_service.start_batch_operation(request)
            except RPCError as error:  # Temporal runs one batch at a time per namespace
                _log.warning("messages not woken yet", reason=reason, error=error.message)
                await asyncio.sleep(wait)
            else:
                return
