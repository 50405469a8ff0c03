"""Rows that need a workflow but have none any more.

A terminated number workflow leaves its number slow, as does a rate that never reached Temporal; a
terminated replay workflow leaves its replay running for ever. The rows show this, whatever the cause.
"""

from collections import Counter
from datetime import datetime, timedelta
from typing import Final

import structlog
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError

from pytake.database.engine import Database
from pytake.numbers import store as numbers
from pytake.numbers.follow import follow_number
from pytake.process.telemetry import RECONCILED
from pytake.reconciliation.messages import describe_latest
from pytake.temporal.client import override_weights
from pytake.temporal.queues import SEND_QUEUE
from pytake.webhooks import deliveries

_log = structlog.get_logger()

_CHANGED_WITHIN: Final = timedelta(minutes=5)
"""Rates of numbers that changed within this time are applied to Temporal again."""
_STARTED_BEFORE: Final = timedelta(minutes=1)
"""A younger replay may not have its workflow yet."""


class Unattended:
    """Repairs such rows on every run of the reconciler."""

    def __init__(self, client: Client, database: Database) -> None:
        self._client = client
        self._database = database

    async def settle(self, at: datetime) -> dict[str, int]:
        """Steer numbers and end replays where needed; return counts by kind."""
        found: Counter[str] = Counter()
        try:
            await self._steer(at, found)
        except RPCError as error:
            _log.warning("numbers are not steered yet", error=error.message)
        for replay_id in await self._database.read(
            deliveries.running_replays, at - _STARTED_BEFORE
        ):
            latest = await describe_latest(self._client, replay_id)
            if latest is None or latest.status is not WorkflowExecutionStatus.RUNNING:
                await self._database.write(deliveries.end_replay, replay_id, "cancelled", at)
                RECONCILED.labels("replay", "cancelled").inc()
                found["replays"] += 1
        return dict(found)

    async def _steer(self, at: datetime, found: Counter[str]) -> None:
        overdue, changed = await self._database.read(
            numbers.overdue_and_changed, at, at - _CHANGED_WITHIN
        )
        for number in overdue:
            await follow_number(self._client, number)
            RECONCILED.labels("number", "steered").inc()
            found["numbers"] += 1
        if changed:
            weights = {number.id: numbers.weight(number) for number in changed}
            await override_weights(self._client, SEND_QUEUE, weights)
