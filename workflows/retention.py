"""PruneWorkflow: deletes old rows so that the database stops growing; scheduled daily."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.retention import PruneActivities
    from pytake.retention.contracts import PruneInput
    from workflows.policies import PRUNE_HEARTBEAT, PRUNE_TIMEOUT, UNLIMITED_RETRY


@workflow.defn
class PruneWorkflow:
    """One run over all tables."""

    @workflow.run
    async def run(self, request: PruneInput) -> dict[str, int]:
        """Returns how many rows of each table were deleted."""
        return await workflow.execute_activity_method(
            PruneActivities.prune,
            request,
            start_to_close_timeout=PRUNE_TIMEOUT,
            heartbeat_timeout=PRUNE_HEARTBEAT,
            retry_policy=UNLIMITED_RETRY,
        )


WORKFLOWS = (PruneWorkflow,)
