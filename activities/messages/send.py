"""Activity ``send_message``: one attempt at one message, from the queue.

The order matters: everything that can fail comes before the POST, and nothing that can fail comes after a
successful one, or the message could be sent twice.
"""

import time
from typing import Final

import structlog
from temporalio import activity

from activities.messages.answers import Answers, problem_of
from activities.messages.attempt import Attempts
from activities.messages.gate import Gate, candidate
from activities.messages.receipts import ReceiptActivities
from activities.messages.results import INFRASTRUCTURE_WAIT, wait
from pytake.clock import now
from pytake.database.engine import UNAVAILABLE
from pytake.messages.contracts import EXPIRED, Problem, SendOutcome, SendRequest, SendResult
from pytake.messages.failures import FailureType, SendFailure
from pytake.messages.waits import WaitReason
from pytake.templates.categories import TemplateCategories
from pytake.whatsapp.client import SendError
from pytake.whatsapp.errors import ErrorClass, rule_for

_log = structlog.get_logger()

_MAX_START_DELAY: Final = 10.0
"""Seconds from the start of an attempt after which it no longer posts: it may be about to time out, and
the next attempt must be able to rely on this one staying silent."""

_OPTED_OUT = Problem(
    code=131050,
    error_class=ErrorClass.PERMANENT,
    title=rule_for(131050).title,
    detail="the contact asked PyTake for no more marketing messages; nothing was sent",
    advice="Do not send marketing templates to this contact until they come back (VOLTAR).",
)
_UNREGISTERED = Problem(
    error_class=ErrorClass.PERMANENT,
    title="The number is not registered",
    detail="it was removed, or never added; nothing was sent",
    advice="Add the number with `pytake number add` and retry, or send anew from another number.",
)


class SendActivities:
    """``send_message``: the gate, the call, and what Meta's response means."""

    def __init__(
        self,
        gate: Gate,
        attempts: Attempts,
        answers: Answers,
        receipts: ReceiptActivities,
        categories: TemplateCategories,
    ) -> None:
        self._gate = gate
        self._attempts = attempts
        self._answers = answers
        self._receipts = receipts
        self._categories = categories

    @activity.defn
    async def send_message(self, request: SendRequest) -> SendResult:
        """Send a message, or return why it has to wait.

        Raises:
            ApplicationError: of type ``Transient`` or ``Ambiguous`` (retried by the retry policy) or
                ``Permanent`` (not retried); its details are a :class:`Problem` and the attempts made.
        """
        started = time.monotonic()
        attempt = activity.info().attempt
        spent = request.attempts_spent + attempt - 1
        try:
            if spent > 0:
                found = await self._receipts.look(request, spent)
                if found.outcome is not SendOutcome.UNKNOWN:
                    return found.model_copy(update={"attempts_spent": attempt - 1})
            if now() >= request.expires_at:
                raise SendFailure(EXPIRED, FailureType.PERMANENT, spent).error()
            admitted = await self._gate.ask(candidate(request, spent))
            if admitted.unregistered:
                raise SendFailure(_UNREGISTERED, FailureType.PERMANENT, spent).error()
            if admitted.opted_out:
                if await self._categories.is_marketing(
                    request.tenant_id,
                    request.phone_number_id,
                    str(request.content.get("name")),
                    str(request.content.get("language")),
                ):
                    raise SendFailure(_OPTED_OUT, FailureType.PERMANENT, spent).error()
                admitted = await self._gate.ask(candidate(request, spent, cleared=True))
            if admitted.claimed_at is not None:
                return await self._attempts.claimed(request, admitted.claimed_at)
        except SendError as error:
            delay = self._answers.retry_delay(request, spent + 1, ErrorClass.TRANSIENT)
            problem = problem_of(error).model_copy(update={"error_class": ErrorClass.TRANSIENT})
            failure = SendFailure(problem, FailureType.TRANSIENT, spent + 1)
            raise failure.error(retry=delay is not None, delay=delay) from None
        except UNAVAILABLE as error:
            _log.warning(
                "database unavailable", message_id=request.message_id, error=type(error).__name__
            )
            until = now() + INFRASTRUCTURE_WAIT
            return wait(SendOutcome.DEFERRED, WaitReason.DATABASE_UNAVAILABLE, until)
        return await self._attempts.make(request, admitted, spent, started + _MAX_START_DELAY)
