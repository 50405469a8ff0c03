"""SnapshotWorkflow: asks Meta about the numbers' health, on schedule or on demand."""

import asyncio

from temporalio import workflow
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from activities.insights import SnapshotActivities
    from pytake.insights.contracts import SnapshotInput, SnapshotResult
    from workflows.policies import (
        LIST_NUMBERS_TIMEOUT,
        SNAPSHOT_RETRY,
        SNAPSHOT_TIMEOUT,
        UNLIMITED_RETRY,
    )

_CONCURRENCY = 5
"""Numbers asked about concurrently: they share Meta's budget of calls."""


@workflow.defn
class SnapshotWorkflow:
    """One snapshot of each number; a failure for one number does not affect the others."""

    @workflow.run
    async def run(self, request: SnapshotInput) -> SnapshotResult:
        """Returns how many snapshots were taken, and why the others failed."""
        numbers = request.phone_number_ids or await workflow.execute_activity_method(
            SnapshotActivities.list_numbers,
            start_to_close_timeout=LIST_NUMBERS_TIMEOUT,
            retry_policy=UNLIMITED_RETRY,
        )
        result = SnapshotResult()
        for start in range(0, len(numbers), _CONCURRENCY):
            batch = numbers[start : start + _CONCURRENCY]
            for problem in await asyncio.gather(*(self._take(request, n) for n in batch)):
                result.taken += problem == ""
                if problem:
                    result.problems.append(problem)
        return result

    @staticmethod
    async def _take(request: SnapshotInput, number: str) -> str:
        try:
            return await workflow.execute_activity_method(
                SnapshotActivities.take_days if request.days else SnapshotActivities.take_snapshot,
                SnapshotInput(phone_number_ids=[number], days=request.days),
                start_to_close_timeout=SNAPSHOT_TIMEOUT,
                retry_policy=SNAPSHOT_RETRY,
            )
        except ActivityError as error:
            return f"{number}: {error.cause}"[:300]


WORKFLOWS = (SnapshotWorkflow,)
