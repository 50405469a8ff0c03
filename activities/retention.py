"""Activity ``prune``: deletes rows older than the retention period."""

from collections import Counter
from datetime import timedelta

import structlog
from temporalio import activity

from pytake.clock import now
from pytake.database.engine import Database
from pytake.retention import store as prune
from pytake.retention.contracts import PruneInput
from pytake.temporal.queues import WORKFLOW_QUEUE, ByQueue

_log = structlog.get_logger()


class PruneActivities:
    """The activity with its database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def activities(self) -> ByQueue:
        """Those that a worker registers, by queue."""
        return {WORKFLOW_QUEUE: [self.prune]}

    @activity.defn
    async def prune(self, request: PruneInput) -> dict[str, int]:
        """Delete in small steps; returns the number of rows deleted by table. A retry continues."""
        before = now() - timedelta(days=request.days)
        deleted: Counter[str] = Counter()
        for name in prune.names():
            while removed := await self._database.write(prune.step, name, before):
                deleted[name] += removed
                activity.heartbeat(dict(deleted))
        _log.info("pruned", older_than_days=request.days, deleted=dict(deleted))
        return dict(deleted)
