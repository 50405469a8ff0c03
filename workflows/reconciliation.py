"""ReconcileWorkflow: finds workflows that were ended from outside; scheduled every minute."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.reconciliation import ReconcileActivities
    from pytake.reconciliation.contracts import ReconcileInput
    from workflows.policies import RECONCILE_HEARTBEAT, RECONCILE_TIMEOUT, UNLIMITED_RETRY


@workflow.defn
class ReconcileWorkflow:
    """One pass over the workflows that ended since the last pass."""

    @workflow.run
    async def run(self, request: ReconcileInput) -> dict[str, int]:
        """Returns how many workflows without a record were settled, by kind and result."""
        return await workflow.execute_activity_method(
            ReconcileActivities.reconcile,
            request,
            start_to_close_timeout=RECONCILE_TIMEOUT,
            heartbeat_timeout=RECONCILE_HEARTBEAT,
            retry_policy=UNLIMITED_RETRY,
        )


WORKFLOWS = (ReconcileWorkflow,)
