"""Local activities that record what happened to a message."""

from sqlmodel import Session
from temporalio import activity

from pytake.clock import now
from pytake.database.engine import Database
from pytake.database.group_commit import Batcher
from pytake.messages import store as messages
from pytake.messages.contracts import MessageInput, OutcomeRecord, Problem
from pytake.messages.events import raise_for
from pytake.messages.status import Observation
from pytake.process.telemetry import OUTCOMES
from pytake.webhooks.contracts import DeliveryInput
from pytake.webhooks.dispatch import Dispatcher


class RecordActivities:
    """The writes of the message workflows; each is idempotent."""

    def __init__(self, database: Database, dispatcher: Dispatcher) -> None:
        self._database = database
        self._dispatcher = dispatcher
        self._records: Batcher[OutcomeRecord, Problem | None] = Batcher(self._record)

    @activity.defn
    async def record_outcome(self, record: OutcomeRecord) -> Problem | None:
        """Record how a run of a message ended.

        Returns:
            For a cancelled message, the problem if it is already recorded as a dead letter (by a
            workflow task that was lost, or did not see the cancellation); it stays a dead letter.
        """
        return await self._records.submit(record)

    @activity.defn
    async def begin_redrive(self, message: MessageInput) -> Observation | None:
        """Take a message out of the dead letters; returns the outcome of this redrive, if it is over."""
        return await self._database.write(
            messages.begin_redrive,
            message.message_id,
            message.generation,
            message.superseded_wamids,
            now(),
        )

    async def _record(self, batch: list[OutcomeRecord]) -> list[Problem | None]:
        raised, dead = await self._database.write(_record_all, batch)
        self._dispatcher.soon(raised)
        for record in batch:
            if record.message.message_id not in dead:
                OUTCOMES.labels(record.observation.value, record.message.priority.value).inc()
        return [dead.get(record.message.message_id) for record in batch]


def _record_all(
    session: Session, batch: list[OutcomeRecord]
) -> tuple[list[DeliveryInput], dict[str, Problem]]:
    cancelled = [r.message for r in batch if r.observation is Observation.CANCELLED]
    dead = messages.dead_letters_among(session, cancelled) if cancelled else {}
    records = [record for record in batch if record.message.message_id not in dead]
    messages.record_outcomes(session, records)
    ids = [record.message.message_id for record in records]
    return raise_for(session, ids, now()), dead
