"""The activities of messages, wired together: two lanes behind one gate, and the recording of outcomes."""

from dataclasses import dataclass

from temporalio.client import Client

from activities.messages.answers import Answers, SendOptions
from activities.messages.attempt import Attempts
from activities.messages.direct import DirectSendActivities
from activities.messages.gate import Gate
from activities.messages.post import Poster
from activities.messages.receipts import ReceiptActivities
from activities.messages.record import RecordActivities
from activities.messages.send import SendActivities
from pytake.database.engine import Database
from pytake.templates.categories import TemplateCategories
from pytake.temporal.queues import SEND_QUEUE, WORKFLOW_QUEUE, ByQueue
from pytake.webhooks.dispatch import Dispatcher
from pytake.whatsapp.client import CloudApi


@dataclass(frozen=True, slots=True)
class MessageActivities:
    """The two lanes and their supporting activities."""

    direct: DirectSendActivities
    queued: SendActivities
    receipts: ReceiptActivities
    record: RecordActivities
    poster: Poster

    def activities(self) -> ByQueue:
        """Those that a worker registers, by queue."""
        return {
            WORKFLOW_QUEUE: [
                self.direct.send_directly,
                self.direct.withdraw,
                self.receipts.find_receipt,
                self.receipts.look_back,
                self.record.record_outcome,
                self.record.begin_redrive,
            ],
            SEND_QUEUE: [self.queued.send_message],
        }


def message_activities(
    api: CloudApi,
    database: Database,
    client: Client,
    dispatcher: Dispatcher,
    options: SendOptions,
    direct_sends: int,
) -> MessageActivities:
    """Both lanes, with at most ``direct_sends`` direct sends at once."""
    gate = Gate(database, options.call_timeout)
    receipts = ReceiptActivities(database, options.receipt_wait)
    poster = Poster(api, gate)
    answers = Answers(database, client, options)
    attempts = Attempts(database, poster, answers, receipts, options)
    categories = TemplateCategories(api, database, options.portfolio_id)
    record = RecordActivities(database, dispatcher)
    return MessageActivities(
        DirectSendActivities(database, gate, attempts, record.record_outcome, direct_sends),
        SendActivities(gate, attempts, answers, receipts, categories),
        receipts,
        record,
        poster,
    )
