"""Activity ``send_message``: one try at one message.

The order matters: everything that can fail comes before the POST, nothing fallible comes after it
succeeded. A failure there would send twice.
"""

import asyncio
import time
from collections import Counter, defaultdict
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final
from uuid import uuid4

import structlog
from temporalio import activity
from temporalio.client import Client
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory
from temporalio.service import RPCError

from activities.messages.receipts import ReceiptActivities
from pytake.clock import now
from pytake.contacts.identities import contact_key
from pytake.database.engine import UNAVAILABLE, Database
from pytake.database.group_commit import Batcher
from pytake.messages import claims as send_claims
from pytake.messages import gate as admission
from pytake.messages import store as messages
from pytake.messages.content import build_payload, is_free_form
from pytake.messages.contracts import EXPIRED, Problem, SendOutcome, SendRequest, SendResult
from pytake.messages.gate import Admission, Candidate, Process
from pytake.messages.pacing import Passage, SlidingWindow, Slots
from pytake.messages.status import Observation
from pytake.numbers import store as numbers
from pytake.numbers.follow import follow_number
from pytake.numbers.tables import PhoneNumber
from pytake.process.telemetry import ATTEMPTS, DEFERRALS, SEND_SECONDS, deferral
from pytake.templates.categories import TemplateCategories
from pytake.temporal.priority import PRIORITY_KEY
from pytake.whatsapp.client import (
    Accepted,
    CloudApi,
    NotSentError,
    RefusedError,
    SendError,
    WithheldError,
)
from pytake.whatsapp.errors import ErrorClass, rule_for
from pytake.whatsapp.limits import pair_wait, retry_wait, send_window

_log = structlog.get_logger()

_INFRASTRUCTURE_WAIT: Final = timedelta(seconds=5)
"""When our own database is away, the message waits; that is no attempt of its."""
_MAX_START_DELAY: Final = 10.0
"""Seconds from the start of an attempt after which it posts no more: the attempt may be about to
time out, and the one after it must be able to rely on this one's silence."""

_RETRIED: Final = {ErrorClass.TRANSIENT: "Transient", ErrorClass.AMBIGUOUS: "Ambiguous"}
"""Classes that spend an attempt and are tried again, with the type of their failure."""
_NUMBERS_OWN: Final = (ErrorClass.THROTTLED_NUMBER, ErrorClass.HALT)
"""Classes of answers about the number: they say nothing of the message, which waits."""

_UNREACHABLE = Problem(
    error_class=ErrorClass.TRANSIENT,
    title="Cloud API not reached",
    advice="The network or Meta is down; PyTake tries again.",
)
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
_CANCELLED = Problem(
    error_class=ErrorClass.PERMANENT,
    title="Cancelled before",
    detail="the database has the message as cancelled: Temporal was restored to an earlier state",
    advice="Nothing was sent; send the message anew if it is wanted after all.",
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
    """Of the configured number."""
    call_timeout: float
    receipt_wait: float
    redrive_wait_codes: bool


class SendActivities:
    """``send_message`` with its clients."""

    def __init__(
        self, api: CloudApi, database: Database, client: Client, policy: SendOptions
    ) -> None:
        self._api = api
        self.database = database
        self._client = client
        self._policy = policy
        self._process = uuid4().hex[:12]
        self._slots = Slots()
        self._window = SlidingWindow()
        self._categories = TemplateCategories(api, database, policy.portfolio_id)
        self._receipts = ReceiptActivities(database, policy.receipt_wait)
        self._releases: set[asyncio.Task[None]] = set()
        self._gate: Batcher[Candidate, Admission] = Batcher(self._admit)
        self.sending: defaultdict[str, Counter[str]] = defaultdict(Counter)
        """Messages in a call to Meta, by tenant and priority."""

    @activity.defn
    async def send_message(self, request: SendRequest) -> SendResult:
        """Send a message, or say why it has to wait.

        Raises:
            ApplicationError: of type ``Transient`` or ``Ambiguous`` (tried again by the retry
                policy) or ``Permanent`` (not); its details are a :class:`Problem` and the attempts
                spent so far.
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
                raise self._failure(EXPIRED, "Permanent", spent, retry=False)
            admitted = await self.gate(candidate(request, spent))
            if admitted.unregistered:
                raise self._failure(_UNREGISTERED, "Permanent", spent, retry=False)
            if admitted.opted_out:
                if await self._categories.is_marketing(
                    request.tenant_id,
                    request.phone_number_id,
                    str(request.content.get("name")),
                    str(request.content.get("language")),
                ):
                    raise self._failure(_OPTED_OUT, "Permanent", spent, retry=False)
                admitted = await self.gate(candidate(request, spent, cleared=True))
            if admitted.claimed_at is not None:
                return await self.claimed(request, admitted.claimed_at)
        except SendError as error:
            delay = self._retry_delay(request, spent + 1, ErrorClass.TRANSIENT)
            problem = _problem(error).model_copy(update={"error_class": ErrorClass.TRANSIENT})
            raise self._failure(
                problem, "Transient", spent + 1, retry=delay is not None, delay=delay
            ) from None
        except UNAVAILABLE as error:
            _log.warning(
                "database unavailable", message_id=request.message_id, error=type(error).__name__
            )
            until = now() + _INFRASTRUCTURE_WAIT
            return self._wait(request, SendOutcome.DEFERRED, "database_unavailable", until)
        return await self.pass_gate(request, admitted, spent, started + _MAX_START_DELAY)

    async def pass_gate(
        self, request: SendRequest, admitted: Admission, spent: int, post_by: float
    ) -> SendResult:
        """Do what the gate decided: send, at the slot it gave, or say what to wait for.

        ``spent`` attempts went before; nothing is posted after ``post_by``, of the monotonic clock.
        """
        result = await self._pass(request, admitted, spent, post_by)
        claimed = _claims(request, spent) and admitted.send_at is not None
        if claimed and result.outcome is not SendOutcome.ACCEPTED:
            # Not sent for now: the next try may claim it. If this fails, that one waits a while.
            with suppress(*UNAVAILABLE):
                await self.database.write(send_claims.release, [request.message_id])
        return result

    async def _pass(
        self, request: SendRequest, admitted: Admission, spent: int, post_by: float
    ) -> SendResult:
        if admitted.send_at is None:
            outcome = SendOutcome.DEFERRED if admitted.until else SendOutcome.REQUEUE
            return self._wait(request, outcome, admitted.reason, admitted.until)
        delay = (admitted.send_at - now()).total_seconds()
        await self._slots.turn(request.phone_number_id, delay, PRIORITY_KEY[request.priority])
        accepted: Accepted | SendError = WithheldError()
        while isinstance(accepted, WithheldError):
            passage = await self._window.enter(
                request.phone_number_id, lambda: self._renew_part(request)
            )
            if passage is None:
                return self._wait(request, SendOutcome.REQUEUE, "pace", None)
            sent = False
            try:
                if time.monotonic() > post_by:
                    return self._wait(request, SendOutcome.REQUEUE, "worker_overloaded", None)
                sent = True
                accepted = await self._post(request, passage)
                sent = not isinstance(accepted, WithheldError)
            finally:
                passage.close(sent=sent)
        if isinstance(accepted, SendError):
            return await self._refused(request, admitted, spent, accepted)
        if admitted.probe:
            # Decoupled from the answer: the message is sent, whatever becomes of the release.
            release = asyncio.create_task(self._release(request.phone_number_id))
            self._releases.add(release)
            release.add_done_callback(self._releases.discard)
        return SendResult(
            outcome=SendOutcome.ACCEPTED,
            wamid=accepted.wamid,
            wa_id=accepted.wa_id,
            accepted_at=now(),
            reason=accepted.message_status or "",
            attempts_spent=activity.info().attempt,
        )

    async def claimed(self, request: SendRequest, since: datetime) -> SendResult:
        """Another try at this message has begun: its outcome, if that is known already; else it is an
        attempt whose outcome is unknown, and nothing is sent before it is over for certain.

        Raises:
            ApplicationError: the message was recorded as a dead letter, or as cancelled.
        """
        row = await self.database.read(messages.get, request.message_id)
        if row is not None and row.recorded:
            if row.status == Observation.DEAD:
                problem = messages.problem_of(row)
                raise self._failure(problem, "Permanent", row.attempts, retry=False)
            if row.status == Observation.CANCELLED:
                raise self._failure(_CANCELLED, "Permanent", row.attempts, retry=False)
        found = await self._receipts.look(request, 1)
        if found.outcome is SendOutcome.ACCEPTED:
            return found.model_copy(update={"attempts_spent": 1})
        over = since + send_window(self._policy.call_timeout, self._policy.receipt_wait)
        return SendResult(
            outcome=SendOutcome.DEFERRED,
            reason="receipt_wait",
            until=max(over, found.until or over),
            attempts_spent=1,
        )

    async def gate(self, wants: Candidate) -> Admission:
        """Ask the gate, together with whatever else asks right now."""
        return await self._gate.submit(wants)

    async def _admit(self, batch: list[Candidate]) -> list[Admission]:
        lease = timedelta(seconds=self._policy.call_timeout + 10)
        asked, clock = now(), time.monotonic()
        keeps = {wants.phone_number_id: 0 for wants in batch}
        keeps = {number: self._window.keeps(number) for number in keeps}
        process = Process(self._process, keeps)
        decided = await self.database.write(admission.admit, batch, asked, lease, process)
        for wants, decision in zip(batch, decided, strict=True):
            if decision.part is not None:
                shift = clock - asked.timestamp()
                self._window.tell(wants.phone_number_id, decision.part, shift)
        return decided

    async def _renew_part(self, request: SendRequest) -> bool:
        """Ask anew for this process's part of the rate: false if there is none."""
        wants = replace(candidate(request), counts=False, claim=None, has_slot=True)
        try:
            return (await self.gate(wants)).part is not None
        except UNAVAILABLE:
            return False

    async def _post(self, request: SendRequest, passage: Passage) -> Accepted | SendError:
        """The call. Its error is returned: raised on from there, its chain of causes would outgrow
        the size that Temporal allows a failure.
        """
        payload = build_payload(
            recipient=request.recipient,
            message_type=request.message_type,
            content=request.content,
            message_id=request.message_id,
            reply_to=request.reply_to,
        )
        counts = self.sending[request.tenant_id]
        counts[request.priority.value] += 1
        started = time.monotonic()
        result = "cancelled"
        try:
            accepted = await self._api.send(
                request.phone_number_id, payload, passage.leaves, passage.left
            )
        except WithheldError as error:
            result = "withheld"
            return error
        except SendError as error:
            result = _problem(error).error_class.value
            return error
        else:
            result = "accepted"
            return accepted
        finally:
            counts[request.priority.value] -= 1
            ATTEMPTS.labels(result).inc()
            SEND_SECONDS.labels(result).observe(time.monotonic() - started)

    async def _refused(
        self, request: SendRequest, admitted: Admission, spent: int, error: SendError
    ) -> SendResult:
        """The message was not accepted (or that is not known): wait, try again or give up."""
        problem = _problem(error)
        retry = problem.error_class in _RETRIED
        delay = self._retry_delay(request, spent + 1, problem.error_class) if retry else None
        try:
            if isinstance(error, RefusedError) and (wait := await self._waits(request, error)):
                with suppress(*UNAVAILABLE):  # the probe's lease runs out by itself
                    await self._end_probe(request, admitted, problem)
                return wait
            await self.database.write(
                messages.log_attempt,
                request,
                spent + 1,
                now(),
                problem,
                now() + delay if delay else None,
            )
            if admitted.counted_at is not None and not retry:
                await self.database.write(
                    admission.uncount,
                    request.phone_number_id,
                    contact_key(request.recipient),
                    admitted.counted_at,
                )
            await self._end_probe(request, admitted, problem)
        except UNAVAILABLE as failure:
            # The log of the attempt is lost, not the attempt: it goes on as below.
            _log.warning(
                "attempt not logged", message_id=request.message_id, error=type(failure).__name__
            )
            if problem.error_class in _NUMBERS_OWN:
                until = now() + _INFRASTRUCTURE_WAIT
                return self._wait(request, SendOutcome.DEFERRED, "database_unavailable", until)
        kind = _RETRIED.get(problem.error_class, "Permanent")
        raise self._failure(problem, kind, spent + 1, retry=retry, delay=delay) from None

    async def _waits(self, request: SendRequest, refusal: RefusedError) -> SendResult | None:
        """The wait that Meta's answer asks for, of this message or of its whole number."""
        error_class, seconds = refusal.rule.error_class, refusal.rule.wait_seconds
        reason = f"({refusal.code}) {refusal.rule.title}"
        if error_class is ErrorClass.THROTTLED_RECIPIENT:
            until = now() + pair_wait(request.pair_deferrals)
            return self._wait(request, SendOutcome.DEFERRED, "pair_limit", until)
        if error_class in _NUMBERS_OWN:
            await self._number_waits(request.phone_number_id, refusal)
            return self._wait(request, SendOutcome.REQUEUE, reason, None)
        if error_class is ErrorClass.WAIT and self._policy.redrive_wait_codes:
            until = now() + timedelta(seconds=seconds)
            return self._wait(request, SendOutcome.DEFERRED, reason, until)
        return None

    async def _end_probe(self, request: SendRequest, admitted: Admission, problem: Problem) -> None:
        """A probe that was not accepted: one that met the message's own fault gives way at once to
        another message; one that met nothing (Meta was down) is not repeated before its time. An
        answer about the number has ended it already.
        """
        if not admitted.probe or problem.error_class in _NUMBERS_OWN:
            return
        again = problem.error_class not in _RETRIED
        await self.database.write(numbers.end_probe, request.phone_number_id, now(), again=again)

    def _retry_delay(self, request: SendRequest, failed: int, kind: ErrorClass) -> timedelta | None:
        """The wait before the next attempt; ``None`` after the last."""
        if failed >= request.max_attempts:
            return None
        delay = retry_wait(failed)
        if kind is ErrorClass.AMBIGUOUS:
            delay = max(delay, timedelta(seconds=self._policy.receipt_wait))
        return delay

    async def _number_waits(self, phone_number_id: str, refusal: RefusedError) -> None:
        rule = refusal.rule
        if rule.error_class is ErrorClass.THROTTLED_NUMBER and rule.wait_seconds == 0:
            change = self.database.write(numbers.throttle, phone_number_id, now(), rule)
        else:
            change = self.database.write(numbers.hold, phone_number_id, rule, now())
        await self._follow(phone_number_id, await change)

    async def _release(self, phone_number_id: str) -> None:
        """A probe succeeded. If this fails, the next probe releases the number."""
        try:
            number = await self.database.write(numbers.resume, phone_number_id, now())
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
            # The gate holds already, by the row; the rate follows with the next answer.
            _log.warning("weight not applied", phone_number_id=phone_number_id, error=error.message)

    @staticmethod
    def _wait(
        request: SendRequest, outcome: SendOutcome, reason: str, until: datetime | None
    ) -> SendResult:
        DEFERRALS.labels(deferral(reason)).inc()
        return SendResult(
            outcome=outcome, reason=reason, until=until, attempts_spent=activity.info().attempt - 1
        )

    @staticmethod
    def _failure(
        problem: Problem, kind: str, attempts: int, *, retry: bool, delay: timedelta | None = None
    ) -> ApplicationError:
        return ApplicationError(
            f"{problem.title}{f': {problem.detail}' if problem.detail else ''}",
            problem.model_dump(mode="json"),
            attempts,
            type=kind,
            non_retryable=not retry,
            next_retry_delay=delay,
            category=ApplicationErrorCategory.BENIGN,
        )


def _claims(request: SendRequest, spent: int) -> bool:
    """Whether this try has to claim the message: the first of any. Later ones look for receipts, and
    a redrive is told apart by the wamids that it replaces.
    """
    return spent == 0 and request.generation == 0


def candidate(
    request: SendRequest, spent: int = 0, *, cleared: bool = False, direct: bool = False
) -> Candidate:
    """The message as the gate sees it."""
    return Candidate(
        request.phone_number_id,
        request.tenant_id,
        contact_key(request.recipient),
        counts=not is_free_form(request.message_type),
        cleared=cleared,
        claim=request.message_id if _claims(request, spent) else None,
        direct=direct,
    )


def _problem(error: SendError) -> Problem:
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
