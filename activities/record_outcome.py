"""Local activities that write what became of a message."""

from sqlmodel import Session
from temporalio import activity

from activities.batching import Batcher
from pytake.clock import now
from pytake.contracts import MessageInput, OutcomeRecord
from pytake.storage import messages
from pytake.storage.engine import Database


class RecordActivities:
    """The writes of the message workflows; each is idempotent."""

    def __init__(self, database: Database) -> None:
        self._database = database
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
        await self._database.write(_record_all, batch)
        return [None] * len(batch)


def _record_all(session: Session, batch: list[OutcomeRecord]) -> None:
    for record in sorted(batch, key=lambda record: record.message.message_id):
        messages.record_outcome(session, record)
