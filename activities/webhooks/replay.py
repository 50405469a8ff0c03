"""Activity ``replay_some``: the next step of a paced replay."""

from typing import Final

from sqlmodel import Session
from temporalio import activity

from pytake.clock import now
from pytake.database.engine import Database
from pytake.temporal.queues import WORKFLOW_QUEUE, ByQueue
from pytake.webhooks import deliveries
from pytake.webhooks.contracts import DeliveryInput, ReplayInput, ReplayStep
from pytake.webhooks.dispatch import Dispatcher
from pytake.webhooks.tables import WebhookReplay

_STEP_SECONDS: Final = 1.0


class ReplayActivities:
    """The steps of WebhookReplayWorkflow."""

    def __init__(self, database: Database, dispatcher: Dispatcher) -> None:
        self._database = database
        self._dispatcher = dispatcher

    def activities(self) -> ByQueue:
        """Those that a worker registers, by queue."""
        return {WORKFLOW_QUEUE: [self.replay_some, self.cancel_replay]}

    @activity.defn
    async def replay_some(self, request: ReplayInput) -> ReplayStep:
        """Replay a second's worth of deliveries."""
        started, goes_on = await self._database.write(_step, request.replay_id)
        await self._dispatcher.start(started)
        return ReplayStep(replayed=len(started), left=goes_on, wait_seconds=_STEP_SECONDS)

    @activity.defn
    async def cancel_replay(self, request: ReplayInput) -> None:
        """End a replay; the deliveries it has started continue."""
        await self._database.write(deliveries.end_replay, request.replay_id, "cancelled", now())


def _step(session: Session, replay_id: str) -> tuple[list[DeliveryInput], bool]:
    row = session.get_one(WebhookReplay, replay_id)
    return deliveries.replay_some(
        session, replay_id, max(int(row.per_second * _STEP_SECONDS), 1), now()
    )
