"""The Temporal Schedules: snapshots of the numbers' health, and of Meta's daily counts."""

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

from pytake.contracts import SnapshotInput
from pytake.temporal import WORKFLOW_QUEUE

HEALTH_SCHEDULE: Final = "pytake-number-health"
DAYS_SCHEDULE: Final = "pytake-daily-counts"
_DAYS_EVERY: Final = timedelta(hours=6)
DAYS_BACK: Final = 7
"""Days that each run fetches: Meta corrects counts later, and missed runs are made up for."""


async def ensure_schedules(client: Client, snapshot_seconds: int) -> None:
    """Make the schedules, or bring them up to date; 0 seconds pauses them.

    A run that was missed while Temporal was down is caught up once: of the health the last 10
    minutes, of the daily counts the last day (a run fetches seven days anyway).
    """
    health = timedelta(seconds=snapshot_seconds or 300)
    for schedule_id, request, every, catch_up in (
        (HEALTH_SCHEDULE, SnapshotInput(), health, max(2 * health, timedelta(minutes=10))),
        (DAYS_SCHEDULE, SnapshotInput(days=DAYS_BACK), _DAYS_EVERY, timedelta(days=1)),
    ):
        schedule = Schedule(
            action=ScheduleActionStartWorkflow(
                "SnapshotWorkflow",
                request,
                id=schedule_id,
                task_queue=WORKFLOW_QUEUE,
                execution_timeout=timedelta(minutes=30),
            ),
            spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=every)]),
            policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP, catchup_window=catch_up),
            state=ScheduleState(
                paused=snapshot_seconds == 0,
                note="PYTAKE_SNAPSHOT_SECONDS=0" if snapshot_seconds == 0 else "",
            ),
        )
        try:
            await client.create_schedule(
                schedule_id, schedule, trigger_immediately=snapshot_seconds > 0
            )
        except ScheduleAlreadyRunningError:
            update = ScheduleUpdate(schedule)
            await client.get_schedule_handle(schedule_id).update(lambda _, u=update: u)  # type: ignore[misc]
