"""Limit on a tenant's scheduled messages: each is a workflow that waits, up to a year."""

import asyncio
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import Final

from temporalio.client import Client

from pytake.messages.contracts import SCHEDULED_WORKFLOW
from pytake.problems import InvalidRequestError
from pytake.temporal.attributes import TENANT

_KEPT_SECONDS: Final = 10.0
_KEPT_WHEN_FULL: Final = 1.0
"""Shorter, so that freed capacity is noticed soon."""
_TENANTS: Final = 10_000


@dataclass(slots=True)
class _Counted:
    number: int
    at: float


class ScheduledQuota:
    """Counts a tenant's scheduled messages with Temporal's visibility, at most once in ten seconds, and
    adds what this process starts in between. Starts by other processes in that time are missed: the
    limit is approximate.
    """

    def __init__(self, client: Client, maximum: int) -> None:
        self._client = client
        self._maximum = maximum
        self._counted: dict[str, _Counted] = {}
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def take(self, tenant_id: str) -> None:
        """Count one more scheduled message.

        Raises:
            InvalidRequestError: the tenant has reached its limit.
            RPCError: Temporal was not reached.
        """
        if not self._maximum:
            return
        async with self._locks[tenant_id]:
            counted = self._counted.get(tenant_id)
            if counted is None or time.monotonic() - counted.at > self._kept(counted):
                counted = await self._count(tenant_id)
            if counted.number >= self._maximum:
                raise InvalidRequestError.of(
                    "scheduled_for",
                    f"the tenant has {self._maximum:,} messages scheduled, as many as it may: cancel "
                    "some, or schedule this one when some have gone out (PYTAKE_MAX_SCHEDULED)",
                )
            counted.number += 1

    def _kept(self, counted: _Counted) -> float:
        return _KEPT_WHEN_FULL if counted.number >= self._maximum else _KEPT_SECONDS

    async def _count(self, tenant_id: str) -> _Counted:
        if len(self._counted) > _TENANTS:
            self._counted.clear()
        answer = await self._client.count_workflows(
            f"WorkflowType = '{SCHEDULED_WORKFLOW}' AND ExecutionStatus = 'Running' "
            f"AND {TENANT.name} = '{tenant_id}'"
        )
        counted = self._counted[tenant_id] = _Counted(answer.count, time.monotonic())
        return counted
