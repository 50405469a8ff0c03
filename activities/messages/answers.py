"""What Meta's response means for the message and its number: wait, retry or give up."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import structlog
from temporalio.client import Client
from temporalio.service import RPCError

from activities.messages.results import INFRASTRUCTURE_WAIT, wait
from pytake.clock import now
from pytake.contacts.identities import contact_key
from pytake.database.engine import UNAVAILABLE, Database
from pytake.messages import gate as admission
from pytake.messages import store as messages
from pytake.messages.contracts import Problem, SendOutcome, SendRequest, SendResult
from pytake.messages.failures import FailureType, SendFailure
from pytake.messages.gate import Admission
from pytake.messages.waits import WaitReason, refused_by_meta
from pytake.numbers import store as numbers
from pytake.numbers.follow import follow_number
from pytake.numbers.tables import PhoneNumber
from pytake.whatsapp.client import NotSentError, RefusedError, SendError
from pytake.whatsapp.errors import ErrorClass
from pytake.whatsapp.limits import pair_wait, retry_wait

_log = structlog.get_logger()

_RETRIED: Final = {
    ErrorClass.TRANSIENT: FailureType.TRANSIENT,
    ErrorClass.AMBIGUOUS: FailureType.AMBIGUOUS,
}
"""Classes that count as an attempt and are retried."""
_ABOUT_NUMBER: Final = (ErrorClass.THROTTLED_NUMBER, ErrorClass.HALT)
"""Classes of errors that concern the number rather than the message, which waits."""

_UNREACHABLE = Problem(
    error_class=ErrorClass.TRANSIENT,
    title="Cloud API not reached",
    advice="The network or Meta is down; PyTake tries again.",
)
_AMBIGUOUS = Problem(
    error_class=ErrorClass.AMBIGUOUS,
    title="Outcome unknown",
    advice="Meta may have accepted the message; PyTake looks for a receipt before it tries again.",
)


@dataclass(frozen=True, slots=True)
class SendOptions:
    """What the worker's settings say about sending."""

    portfolio_id: str
    """The WhatsApp Business account of the configured number."""
    call_timeout: float
    receipt_wait: float
    redrive_wait_codes: bool


class Answers:
    """Interprets Meta's responses, and throttles, holds and releases numbers accordingly."""

    def __init__(self, database: Database, client: Client, options: SendOptions) -> None:
        self._database = database
        self._client = client
        self._options = options
        self._releases: set[asyncio.Task[None]] = set()

    def probe_accepted(self, phone_number_id: str) -> None:
        """Release a number whose probe was accepted. In the background, because the message is sent
        whether or not this succeeds.
        """
        release = asyncio.create_task(self._release(phone_number_id))
        self._releases.add(release)
        release.add_done_callback(self._releases.discard)

    async def refused(
        self, request: SendRequest, admitted: Admission, spent: int, error: SendError
    ) -> SendResult:
        """Handle an error of the call: return the wait, or raise an error to retry or give up."""
        problem = problem_of(error)
        retry = problem.error_class in _RETRIED
        delay = self.retry_delay(request, spent + 1, problem.error_class) if retry else None
        try:
            if isinstance(error, RefusedError) and (waiting := await self._waits(request, error)):
                with suppress(*UNAVAILABLE):  # the probe's lease runs out by itself
                    await self._end_probe(request, admitted, problem)
                return waiting
            await self._database.write(
                messages.log_attempt,
                request,
                spent + 1,
                now(),
                problem,
                now() + delay if delay else None,
            )
            if admitted.counted_at is not None and not retry:
                await self._database.write(
                    admission.uncount,
                    request.phone_number_id,
                    contact_key(request.recipient),
                    admitted.counted_at,
                )
            await self._end_probe(request, admitted, problem)
        except UNAVAILABLE as failure:
            # Only the log entry is lost; the attempt still counts below.
            _log.warning(
                "attempt not logged", message_id=request.message_id, error=type(failure).__name__
            )
            if problem.error_class in _ABOUT_NUMBER:
                until = now() + INFRASTRUCTURE_WAIT
                return wait(SendOutcome.DEFERRED, WaitReason.DATABASE_UNAVAILABLE, until)
        kind = _RETRIED.get(problem.error_class, FailureType.PERMANENT)
        raise SendFailure(problem, kind, spent + 1).error(retry=retry, delay=delay) from None

    async def _waits(self, request: SendRequest, refusal: RefusedError) -> SendResult | None:
        """The wait that Meta's error calls for, of this message or of its whole number."""
        error_class, seconds = refusal.rule.error_class, refusal.rule.wait_seconds
        reason = refused_by_meta(refusal.code, refusal.rule.title)
        if error_class is ErrorClass.THROTTLED_RECIPIENT:
            until = now() + pair_wait(request.pair_deferrals)
            return wait(SendOutcome.DEFERRED, WaitReason.PAIR_LIMIT, until)
        if error_class in _ABOUT_NUMBER:
            await self._number_waits(request.phone_number_id, refusal)
            return wait(SendOutcome.REQUEUE, reason)
        if error_class is ErrorClass.WAIT and self._options.redrive_wait_codes:
            until = now() + timedelta(seconds=seconds)
            return wait(SendOutcome.DEFERRED, reason, until)
        return None

    async def _end_probe(self, request: SendRequest, admitted: Admission, problem: Problem) -> None:
        """End a probe that was not accepted. If the message itself was at fault, another message may
        probe at once; if Meta was not reached, the next probe waits its time. An error about the number
        has already ended the probe.
        """
        if not admitted.probe or problem.error_class in _ABOUT_NUMBER:
            return
        again = problem.error_class not in _RETRIED
        await self._database.write(numbers.end_probe, request.phone_number_id, now(), again=again)

    def retry_delay(self, request: SendRequest, failed: int, kind: ErrorClass) -> timedelta | None:
        """The wait before the next attempt; ``None`` after the last."""
        if failed >= request.max_attempts:
            return None
        delay = retry_wait(failed)
        if kind is ErrorClass.AMBIGUOUS:
            delay = max(delay, timedelta(seconds=self._options.receipt_wait))
        return delay

    async def _number_waits(self, phone_number_id: str, refusal: RefusedError) -> None:
        rule = refusal.rule
        if rule.error_class is ErrorClass.THROTTLED_NUMBER and rule.wait_seconds == 0:
            change = self._database.write(numbers.throttle, phone_number_id, now(), rule)
        else:
            change = self._database.write(numbers.hold, phone_number_id, rule, now())
        await self._follow(phone_number_id, await change)

    async def _release(self, phone_number_id: str) -> None:
        """A probe succeeded. If this fails, the next probe releases the number."""
        try:
            number = await self._database.write(numbers.resume, phone_number_id, now())
            await self._follow(phone_number_id, number)
        except UNAVAILABLE as error:
            _log.warning(
                "number not released", phone_number_id=phone_number_id, error=type(error).__name__
            )

    async def _follow(self, phone_number_id: str, number: PhoneNumber | None) -> None:
        if number is None:
            return
        _log.info(
            "number changed",
            phone_number_id=phone_number_id,
            state=number.state,
            rate=number.current_rate,
        )
        try:
            await follow_number(self._client, number)
        except RPCError as error:
            # The gate already reads the new state; the weight follows with the next response.
            _log.warning("weight not applied", phone_number_id=phone_number_id, error=error.message)


def problem_of(error: SendError) -> Problem:
    """The problem that an error of the call represents."""
    if isinstance(error, RefusedError):
        return Problem(
            code=error.code,
            error_class=error.rule.error_class,
            title=error.rule.title if error.code is not None else f"HTTP {error.http_status}",
            detail=" ".join(part for part in (error.message, error.details) if part),
            advice=error.rule.advice,
        )
    base = _UNREACHABLE if isinstance(error, NotSentError) else _AMBIGUOUS
    return base.model_copy(update={"detail": str(error)})
