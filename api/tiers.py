"""Messaging limits that Meta reports through the callback."""

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import structlog
from temporalio.api.batch.v1 import BatchOperationSignal
from temporalio.api.common.v1 import Payloads
from temporalio.api.workflowservice.v1 import StartBatchOperationRequest
from temporalio.client import Client
from temporalio.service import RPCError
from ulid import ULID

from pytake.domain.limits import parse_tier
from pytake.temporal import HOLD
from pytake.whatsapp.inbound import OtherUpdate

_log = structlog.get_logger()

_RETRY_SECONDS: Final = (1, 2, 5, 10, 30, 60)
_FIELDS: Final = {
    "phone_number_quality_update": ("current_limit", "max_daily_conversations_per_business"),
    "business_capability_update": (
        "max_daily_conversations_per_business",
        "max_daily_conversation_per_phone",
    ),
}
_BY_COUNT: Final = {
    50: "TIER_50",
    250: "TIER_250",
    1000: "TIER_1K",
    2000: "TIER_2K",
    10_000: "TIER_10K",
    100_000: "TIER_100K",
    -1: "TIER_UNLIMITED",
}


def reported(updates: Iterable[OtherUpdate]) -> Iterator[tuple[OtherUpdate, str]]:
    """Updates that report a messaging limit, each with the tier."""
    for update in updates:
        value: Any = update.payload
        for name in _FIELDS.get(update.field, ()) if isinstance(value, dict) else ():
            if tier := _tier(value.get(name)):
                yield update, tier
                break


def _tier(value: Any) -> str | None:
    if isinstance(value, int):
        return _BY_COUNT.get(value)
    try:
        return parse_tier(value).name if isinstance(value, str) else None
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class LimitChange:
    """A messaging limit that a report changed."""

    phone_number_id: str | None
    before: str
    after: str


class Waker:
    """Wakes messages that wait on a timer of their own, all of a kind in one call.

    Should it fail for good, they wake when the window frees, as they would have without it.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._tasks: set[asyncio.Task[None]] = set()

    def wake(self, reason: str) -> None:
        """Signal ``resume`` to every message that waits for ``reason``, in the background."""
        task = asyncio.create_task(self._wake(reason))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _wake(self, reason: str) -> None:
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
            except RPCError as error:  # one batch at a time runs in a namespace
                _log.warning("messages not woken yet", reason=reason, error=error.message)
                await asyncio.sleep(wait)
            else:
                return
