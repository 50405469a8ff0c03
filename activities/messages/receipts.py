"""Looking for proof that Meta accepted a message whose attempt ended ambiguously."""

from datetime import timedelta
from typing import Final

from temporalio import activity

from pytake.clock import now
from pytake.database.engine import Database
from pytake.messages import store as messages
from pytake.messages.contracts import OUTCOME_UNKNOWN, Problem, SendOutcome, SendRequest, SendResult
from pytake.messages.waits import WaitReason
from pytake.process import heartbeats
from pytake.whatsapp.errors import ErrorClass

WORKER_LOST: Final = Problem(
    error_class=ErrorClass.AMBIGUOUS,
    title="The worker was lost during the attempt",
    advice="Meta may have accepted the message; PyTake looks for a receipt before it tries again.",
)


class ReceiptActivities:
    """``find_receipt``, and the same lookup for ``send_message``."""

    def __init__(self, database: Database, receipt_wait: float) -> None:
        self._database = database
        self._receipt_wait = timedelta(seconds=receipt_wait)

    @activity.defn
    async def find_receipt(self, request: SendRequest) -> SendResult:
        """ACCEPTED with the wamid, DEFERRED while a receipt may still arrive, UNKNOWN if there is none."""
        return await self.look(request, request.attempts_spent)

    @activity.defn
    async def look_back(self, request: SendRequest) -> SendResult:
        """Like ``find_receipt``, for a message that is given up, over all attempts known to have started:
        UNKNOWN without a reason if none of them can have reached Meta.
        """
        begun = await self._database.read(messages.attempts_begun, request)
        found = await self.look(request, begun)
        return found.model_copy(update={"attempts_spent": begun})

    async def look(self, request: SendRequest, attempts: int) -> SendResult:
        """Look once for a receipt, after ``attempts`` attempts.

        If the last of them may have reached Meta, a missing receipt proves nothing until one has had time
        to arrive, both since the attempt and since the callback came up. Until then: DEFERRED.
        """
        receipt = await self._database.read(
            messages.find_receipt, request.message_id, request.superseded_wamids
        )
        if receipt is not None:
            return SendResult(
                outcome=SendOutcome.ACCEPTED,
                wamid=receipt.wamid,
                wa_id=receipt.wa_id,
                accepted_at=receipt.sent_at or now(),
                reason="receipt",
            )
        if attempts == 0:
            return SendResult(outcome=SendOutcome.UNKNOWN)
        doubtful_since = await self._database.write(
            messages.doubtful_since, request, attempts, now(), WORKER_LOST
        )
        if doubtful_since is None:
            return SendResult(outcome=SendOutcome.UNKNOWN)
        opened = await self._database.read(heartbeats.callback_open_since, now())
        settled_at = max(doubtful_since, opened or now()) + self._receipt_wait
        if settled_at <= now():
            return SendResult(outcome=SendOutcome.UNKNOWN, reason=OUTCOME_UNKNOWN)
        came_in = opened is not None and opened <= doubtful_since
        reason = WaitReason.RECEIPT_WAIT if came_in else WaitReason.CALLBACK_DOWN
        return SendResult(outcome=SendOutcome.DEFERRED, reason=reason, until=settled_at)
