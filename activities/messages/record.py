"""Local activities that write what became of a message."""

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
        """Write how a run of a message ended.

        Returns:
            The problem of a message that is recorded as a dead letter already, where this says that it
            was cancelled: by a workflow task that was lost, or did not know of the cancel. It stays one.
        """
        return await self._records.submit(record)

    @activity.defn
    async def begin_redrive(self, message: MessageInput) -> Observation | None:
        """Take the dead letter out of the dead letters; what became of this redrive, if it is over."""
        return await self._database.write(
            messages.begin_redrive,
            message.message_id,
            message.generation,
            message.superseded_wamids,
            now(),
        )

    async def _record(self, batch: list[OutcomeRecord]) -> list[Problem | None]:
        raised, buried = await self._database.write(_record_all, batch)
        self._dispatcher.soon(raised)
        for record in batch:
            if record.message.message_id not in buried:
                OUTCOMES.labels(record.observation.value, record.message.priority.value).inc()
        return [buried.get(record.message.message_id) for record in batch]


def _record_all(
    session: Session, batch: list[OutcomeRecord]
) -> tuple[list[DeliveryInput], dict[str, Problem]]:
    cancelled = [r.message for r in batch if r.observation is Observation.CANCELLED]
    buried = messages.buried(session, cancelled) if cancelled else {}
    records = [record for record in batch if record.message.message_id not in buried]
    messages.record_outcomes(session, records)
    ids = [record.message.message_id for record in records]
    return raise_for(session, ids, now()), buried
