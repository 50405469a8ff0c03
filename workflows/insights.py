"""SnapshotWorkflow: asks Meta how the numbers are, by schedule or because somebody wants to know."""

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
        STEER_RETRY,
    )

_AT_ONCE = 5
"""Numbers asked about at the same time: the budget of calls is Meta's, for all together."""


@workflow.defn
class SnapshotWorkflow:
    """One snapshot of each number; what one number's says does not keep another's from being taken."""

    @workflow.run
    async def run(self, request: SnapshotInput) -> SnapshotResult:
        """How many snapshots were taken, and what kept the others."""
        numbers = request.phone_number_ids or await workflow.execute_activity_method(
            SnapshotActivities.list_numbers,
            start_to_close_timeout=LIST_NUMBERS_TIMEOUT,
            retry_policy=STEER_RETRY,
        )
        result = SnapshotResult()
        for start in range(0, len(numbers), _AT_ONCE):
            some = numbers[start : start + _AT_ONCE]
            for problem in await asyncio.gather(*(self._take(request, n) for n in some)):
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
