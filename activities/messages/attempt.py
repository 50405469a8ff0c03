"""One attempt at a message that has been to the gate: posted, or waiting for what the gate named."""

from contextlib import suppress
from datetime import datetime
from typing import Final

from temporalio import activity

from activities.messages.answers import Answers, SendOptions
from activities.messages.post import Poster
from activities.messages.receipts import ReceiptActivities
from activities.messages.results import wait
from pytake.clock import now
from pytake.database.engine import UNAVAILABLE, Database
from pytake.messages import claims as send_claims
from pytake.messages import store as messages
from pytake.messages.contracts import Problem, SendOutcome, SendRequest, SendResult
from pytake.messages.failures import FailureType, SendFailure
from pytake.messages.gate import Admission
from pytake.messages.status import Observation
from pytake.messages.waits import WaitReason
from pytake.whatsapp.client import SendError
from pytake.whatsapp.errors import ErrorClass
from pytake.whatsapp.limits import send_window

_CANCELLED: Final = Problem(
    error_class=ErrorClass.PERMANENT,
    title="Cancelled before",
    detail="the database has the message as cancelled: Temporal was restored to an earlier state",
    advice="Nothing was sent; send the message anew if it is wanted after all.",
)


class Attempts:
    """Makes attempts, both queued and direct."""

    def __init__(
        self,
        database: Database,
        poster: Poster,
        answers: Answers,
        receipts: ReceiptActivities,
        options: SendOptions,
    ) -> None:
        self._database = database
        self._poster = poster
        self._answers = answers
        self._receipts = receipts
        self._options = options

    async def make(
        self, request: SendRequest, admitted: Admission, spent: int, post_by: float
    ) -> SendResult:
        """Do what the gate decided: send at the given slot, or return what to wait for.

        ``spent`` is the number of earlier attempts; nothing is posted after ``post_by`` (monotonic).

        Raises:
            ApplicationError: a :class:`SendFailure`.
        """
        result = await self._make(request, admitted, spent, post_by)
        if admitted.send_at is not None and result.outcome is not SendOutcome.ACCEPTED:
            # Not sent: release the claim for the next try. If this fails, that one has to wait.
            with suppress(*UNAVAILABLE):
                await self._database.write(send_claims.release, [request.message_id])
        return result

    async def _make(
        self, request: SendRequest, admitted: Admission, spent: int, post_by: float
    ) -> SendResult:
        if admitted.send_at is None:
            outcome = SendOutcome.DEFERRED if admitted.until else SendOutcome.REQUEUE
            return wait(outcome, admitted.reason, admitted.until)
        answer = await self._poster.post(request, admitted.send_at, post_by)
        if isinstance(answer, SendResult):
            return answer
        if isinstance(answer, SendError):
            return await self._answers.refused(request, admitted, spent, answer)
        if admitted.probe:
            self._answers.probe_accepted(request.phone_number_id)
        return SendResult(
            outcome=SendOutcome.ACCEPTED,
            wamid=answer.wamid,
            wa_id=answer.wa_id,
            accepted_at=now(),
            reason=answer.message_status or "",
            attempts_spent=activity.info().attempt,
        )

    async def claimed(self, request: SendRequest, since: datetime) -> SendResult:
        """Handle a message that another try has claimed: return that try's outcome if it is known, else
        wait until it is certainly over.

        Raises:
            ApplicationError: the message was recorded as a dead letter, or as cancelled.
        """
        row = await self._database.read(messages.get, request.message_id)
        if row is not None and row.recorded:
            if row.status == Observation.DEAD:
                problem = messages.problem_of(row)
                raise SendFailure(problem, FailureType.PERMANENT, row.attempts).error()
            if row.status == Observation.CANCELLED:
                raise SendFailure(_CANCELLED, FailureType.PERMANENT, row.attempts).error()
        found = await self._receipts.look(request, 1)
        if found.outcome is SendOutcome.ACCEPTED:
            return found.model_copy(update={"attempts_spent": 1})
        over = since + send_window(self._options.call_timeout, self._options.receipt_wait)
        return SendResult(
            outcome=SendOutcome.DEFERRED,
            reason=WaitReason.RECEIPT_WAIT,
            until=max(over, found.until or over),
            attempts_spent=1,
        )
