"""The two lanes of a message, put together: from the queue, and directly."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from temporalio.client import Client

from activities.messages.answers import Answers, SendOptions
from activities.messages.attempt import Attempts
from activities.messages.direct import DirectSendActivities
from activities.messages.gate import Gate
from activities.messages.post import Poster
from activities.messages.receipts import ReceiptActivities
from activities.messages.send import SendActivities
from pytake.database.engine import Database
from pytake.messages.contracts import OutcomeRecord
from pytake.templates.categories import TemplateCategories
from pytake.whatsapp.client import CloudApi


@dataclass(frozen=True, slots=True)
class Lanes:
    """The activities that send, and what they share."""

    send: SendActivities
    directly: DirectSendActivities
    receipts: ReceiptActivities
    poster: Poster


def build_lanes(
    api: CloudApi,
    database: Database,
    client: Client,
    options: SendOptions,
    record: Callable[[OutcomeRecord], Awaitable[object]],
    direct_sends: int,
) -> Lanes:
    """Both lanes with one gate: ``record`` writes the outcome of a direct send, of which at most
    ``direct_sends`` run at once.
    """
    gate = Gate(database, options.call_timeout)
    receipts = ReceiptActivities(database, options.receipt_wait)
    poster = Poster(api, gate)
    answers = Answers(database, client, options)
    attempts = Attempts(database, poster, answers, receipts, options)
    categories = TemplateCategories(api, database, options.portfolio_id)
    return Lanes(
        SendActivities(gate, attempts, answers, receipts, categories),
        DirectSendActivities(database, gate, attempts, record, direct_sends),
        receipts,
        poster,
    )
