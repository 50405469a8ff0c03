"""Local activities that write what became of a message."""

from sqlmodel import Session
from temporalio import activity

from activities.batching import Batcher
from activities.webhook_dispatch import Dispatcher
from pytake.clock import now
from pytake.contracts import MessageInput, OutcomeRecord
from pytake.storage import messages
from pytake.storage.engine import Database
from pytake.storage.events import Dispatch
from pytake.storage.message_events import raise_for
from pytake.telemetry import OUTCOMES


class RecordActivities:
    """The writes of the message workflows; each is idempotent."""

    def __init__(self, database: Database, dispatcher: Dispatcher) -> None:
        self._database = database
        self._dispatcher = dispatcher
        self._records: Batcher[OutcomeRecord, None] = Batcher(self._record)

    @activity.defn
    async def record_outcome(self, record: OutcomeRecord) -> None:
        """Write how a run of a message ended."""
        await self._records.submit(record)

    @activity.defn
    async def begin_redrive(self, message: MessageInput) -> None:
        """Take the dead letter out of the dead letters."""
        await self._database.write(
            messages.begin_redrive,
            message.message_id,
            message.generation,
            message.superseded_wamids,
            now(),
        )

    async def _record(self, batch: list[OutcomeRecord]) -> list[None]:
        self._dispatcher.soon(await self._database.write(_record_all, batch))
        for record in batch:
            OUTCOMES.labels(record.observation.value, record.message.priority.value).inc()
        return [None] * len(batch)


def _record_all(session: Session, batch: list[OutcomeRecord]) -> list[Dispatch]:
    messages.record_outcomes(session, batch)
    return raise_for(session, [record.message.message_id for record in batch], now())
