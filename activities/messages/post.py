"""The call to Meta: at the slot that the gate gave, within this process's part of the rate."""

import time
from collections import Counter, defaultdict
from datetime import datetime

from activities.messages.answers import problem_of
from activities.messages.gate import Gate
from activities.messages.results import wait
from pytake.clock import now
from pytake.messages.content import build_payload
from pytake.messages.contracts import SendOutcome, SendRequest, SendResult
from pytake.messages.pacing import Passage
from pytake.messages.waits import WaitReason
from pytake.process.telemetry import ATTEMPTS, SEND_SECONDS
from pytake.whatsapp.client import Accepted, CloudApi, SendError, WithheldError


class Poster:
    """Posts messages that the gate has admitted."""

    def __init__(self, api: CloudApi, gate: Gate) -> None:
        self._api = api
        self._gate = gate
        self.sending: defaultdict[str, Counter[str]] = defaultdict(Counter)
        """Messages in a call to Meta, by tenant and priority."""

    async def post(
        self, request: SendRequest, send_at: datetime, post_by: float
    ) -> Accepted | SendError | SendResult:
        """Post at ``send_at``, but not after ``post_by`` (monotonic).

        Returns:
            Meta's acceptance, the error of the call, or the wait of a message that was not posted.
        """
        await self._gate.turn(request, (send_at - now()).total_seconds())
        while True:
            passage = await self._gate.enter(request)
            if passage is None:
                return wait(SendOutcome.REQUEUE, WaitReason.PACE)
            sent = False
            try:
                if time.monotonic() > post_by:
                    return wait(SendOutcome.REQUEUE, WaitReason.WORKER_OVERLOADED)
                sent = True
                answer = await self._call(request, passage)
                sent = not isinstance(answer, WithheldError)
            finally:
                passage.close(sent=sent)
            if sent:
                return answer

    async def _call(self, request: SendRequest, passage: Passage) -> Accepted | SendError:
        """Call Meta. Errors are returned, not raised: with its chain of causes, the failure could exceed
        Temporal's size limit.
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
                request.phone_number_id, payload, passage.may_write, passage.mark_written
            )
        except WithheldError as error:
            result = "withheld"
            return error
        except SendError as error:
            result = problem_of(error).error_class.value
            return error
        else:
            result = "accepted"
            return accepted
        finally:
            counts[request.priority.value] -= 1
            ATTEMPTS.labels(result).inc()
            SEND_SECONDS.labels(result).observe(time.monotonic() - started)
