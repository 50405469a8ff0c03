"""The Temporal Schedules: the numbers' health, Meta's daily counts, reconciliation, and pruning."""

from datetime import timedelta
from typing import Final

from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleState,
    ScheduleUpdate,
)

from pytake.insights.contracts import SNAPSHOT_WORKFLOW, SnapshotInput
from pytake.reconciliation.contracts import RECONCILE_WORKFLOW, ReconcileInput
from pytake.retention.contracts import PRUNE_WORKFLOW, PruneInput
from pytake.temporal.queues import WORKFLOW_QUEUE

HEALTH_SCHEDULE: Final = "pytake-number-health"
DAYS_SCHEDULE: Final = "pytake-daily-counts"
PRUNE_SCHEDULE: Final = "pytake-prune"
RECONCILE_SCHEDULE: Final = "pytake-reconcile"
_DAYS_EVERY: Final = timedelta(hours=6)
DAYS_BACK: Final = 7
"""Days that each run fetches: Meta corrects counts later, and runs may have been missed."""


async def ensure_schedules(
    client: Client, snapshot_seconds: int, retention_days: int, reconcile_seconds: int
) -> None:
    """Create the schedules or bring them up to date; 0 seconds or days pauses them.

    Runs missed while Temporal was down are caught up with one run, if they were due within the last
    10 minutes (health) or the last day (daily counts; a run fetches seven days anyway). Reconciliation
    goes on where its previous run stopped, so it needs no catching up.
    """
    health = timedelta(seconds=snapshot_seconds or 300)
    reconcile = timedelta(seconds=reconcile_seconds or 60)
    for schedule_id, kind, request, every, catch_up, active in (
        (
            HEALTH_SCHEDULE,
            SNAPSHOT_WORKFLOW,
            SnapshotInput(),
            health,
            max(2 * health, timedelta(minutes=10)),
            snapshot_seconds > 0,
        ),
        (
            DAYS_SCHEDULE,
            SNAPSHOT_WORKFLOW,
            SnapshotInput(days=DAYS_BACK),
            _DAYS_EVERY,
            timedelta(days=1),
            snapshot_seconds > 0,
        ),
        (
            RECONCILE_SCHEDULE,
            RECONCILE_WORKFLOW,
            ReconcileInput(every_seconds=reconcile.total_seconds()),
            reconcile,
            timedelta(minutes=1),
            reconcile_seconds > 0,
        ),
        (
            PRUNE_SCHEDULE,
            PRUNE_WORKFLOW,
            PruneInput(days=retention_days),
            timedelta(days=1),
            timedelta(days=1),
            retention_days > 0,
        ),
    ):
        schedule = Schedule(
            action=ScheduleActionStartWorkflow(
                kind,
                request,
                id=schedule_id,
                task_queue=WORKFLOW_QUEUE,
                execution_timeout=timedelta(hours=12),
            ),
            spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=every)]),
            policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP, catchup_window=catch_up),
            state=ScheduleState(paused=not active, note="" if active else "off by the settings"),
        )
        try:
            at_once = active and kind == SNAPSHOT_WORKFLOW
            await client.create_schedule(schedule_id, schedule, trigger_immediately=at_once)
        except ScheduleAlreadyRunningError:
            update = ScheduleUpdate(schedule)
            await client.get_schedule_handle(schedule_id).update(lambda _, u=update: u)  # type: ignore[misc]
