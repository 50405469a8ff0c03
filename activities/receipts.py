"""Looking for the proof that Meta accepted a message whose attempt ended ambiguously."""

from datetime import timedelta

from temporalio import activity

from pytake.clock import now
from pytake.contracts import SendOutcome, SendRequest, SendResult
from pytake.storage import heartbeats, messages
from pytake.storage.engine import Database


class ReceiptActivities:
    """``find_receipt``, and the same look for ``send_message``."""

    def __init__(self, database: Database, receipt_wait: float) -> None:
        self._database = database
        self._receipt_wait = timedelta(seconds=receipt_wait)

    @activity.defn
    async def find_receipt(self, request: SendRequest) -> SendResult:
        """ACCEPTED with the wamid, DEFERRED while receipts cannot come in, UNKNOWN if there is none."""
        return await self.look(request, request.attempts_spent)

    async def look(self, request: SendRequest, attempts: int) -> SendResult:
        """Look once, after ``attempts`` attempts.

        If the last of them may have reached Meta, absence proves nothing while the process that
        serves Meta's callback is down, or has not been up for as long as a receipt takes: then
        DEFERRED says until when.
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
        if await self._database.read(messages.surely_unsent, request, attempts):
            return SendResult(outcome=SendOutcome.UNKNOWN)
        opened = await self._database.read(heartbeats.callback_open_since, now())
        settled_at = (opened or now()) + self._receipt_wait
        if opened is not None and settled_at <= now():
            return SendResult(outcome=SendOutcome.UNKNOWN)
        until = max(settled_at, now() + timedelta(seconds=1))
        return SendResult(outcome=SendOutcome.DEFERRED, reason="callback_down", until=until)
