"""Activity ``deliver_webhook``: one attempt to deliver one event to one endpoint.

Delivery is at least once; receivers recognise a duplicate by ``webhook-id``.
"""

import asyncio
import random
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import structlog
from temporalio import activity
from temporalio.client import Client
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory
from temporalio.service import RPCError

from pytake.clock import now
from pytake.database.engine import UNAVAILABLE, Database
from pytake.database.vault import Vault
from pytake.process.telemetry import DELIVERIES, DELIVERY_DEFERRALS, DELIVERY_SECONDS
from pytake.settings import ConfigurationError
from pytake.temporal.queues import DELIVERY_QUEUE, WORKFLOW_QUEUE, ByQueue
from pytake.webhooks import deliveries
from pytake.webhooks.authentication import Authenticator, AuthError
from pytake.webhooks.client_certificates import ClientCertificate
from pytake.webhooks.contracts import DeliveryInput, DeliveryOutcome, DeliveryResult, DeliveryWait
from pytake.webhooks.deliveries import Attempt, DisableRule, Loaded
from pytake.webhooks.dispatch import Dispatcher
from pytake.webhooks.guard import BlockedUrlError
from pytake.webhooks.policies import (
    DeliveryStatus,
    attempts_made,
    parse_retry_after,
    retry_policy_of,
    succeeded,
)
from pytake.webhooks.signing import signature_headers, signing_key
from pytake.webhooks.slots import Slot, SlotLimits
from pytake.webhooks.tables import WebhookEndpoint
from pytake.webhooks.transport import Answer, BusyError, DeliveryError, GuardedClient
from pytake.webhooks.turns import Turns

_log = structlog.get_logger()

_HEARTBEAT_SECONDS: Final = 5.0
_ORDER_WAIT: Final = 30.0
"""Seconds until an ordered delivery checks again; its predecessor normally wakes it sooner."""


@dataclass(frozen=True, slots=True)
class DeliveryOptions:
    """What the worker's settings say about deliveries."""

    slots: SlotLimits
    disable: DisableRule
    shortest_wait: timedelta
    """Minimum wait before a retry, whatever the endpoint's retry policy says."""


class WebhookActivities:
    """``deliver_webhook`` and ``bury_delivery``, with their dependencies."""

    def __init__(
        self,
        http: GuardedClient,
        database: Database,
        client: Client,
        vault: Vault | None,
        dispatcher: Dispatcher,
        policy: DeliveryOptions,
    ) -> None:
        self._http = http
        self._database = database
        self._client = client
        self._vault = vault
        self._dispatcher = dispatcher
        self._policy = policy
        self._turns = Turns(policy.slots)
        self._authenticator = Authenticator(http)

    def activities(self) -> ByQueue:
        """Those that a worker registers, by queue."""
        return {WORKFLOW_QUEUE: [self.bury_delivery], DELIVERY_QUEUE: [self.deliver_webhook]}

    @activity.defn
    async def deliver_webhook(self, request: DeliveryInput) -> DeliveryResult:
        """Deliver, or return why it has to wait.

        Raises:
            ApplicationError: ``Failed`` or ``Busy`` (retried by the retry policy), or ``Permanent``.
        """
        info = activity.info()
        made = attempts_made(info.attempt, _refusals(), request.attempts_spent)
        waited = made - request.attempts_spent
        if made >= request.max_attempts:
            raise _failure("the worker was lost in the last attempt", retry=False)
        try:
            loaded = await self._database.read(deliveries.load, request.delivery_id)
        except UNAVAILABLE:
            return _defer(DeliveryWait.DATABASE_UNAVAILABLE, 5, waited)
        if loaded is None or loaded.delivery.run != request.run:
            return DeliveryResult(outcome=DeliveryOutcome.DISCARDED, reason="superseded")
        if loaded.delivery.status == DeliveryStatus.DELIVERED.value:
            return DeliveryResult(outcome=DeliveryOutcome.DELIVERED, reason="before")
        endpoint = loaded.endpoint
        if endpoint is None:
            raise _failure("the endpoint was deleted", retry=False)
        if not endpoint.active:
            return await self._discard(request)
        if loaded.waits_for is not None:
            return _defer(DeliveryWait.ORDER, _ORDER_WAIT, waited)
        slot = await self._turns.take(
            endpoint.tenant_id, endpoint.fairness_key, endpoint.updated_at
        )
        if isinstance(slot, DeliveryWait):
            return self._refused(request, slot)
        living = asyncio.create_task(_heartbeats(_refusals() or 0))
        attempting = asyncio.create_task(self._attempt(request, loaded, endpoint, made, slot))
        try:
            return await asyncio.shield(attempting)
        except asyncio.CancelledError:
            return await attempting  # finish and log a request under way even if cancelled
        finally:
            living.cancel()

    async def _attempt(
        self,
        request: DeliveryInput,
        loaded: Loaded,
        endpoint: WebhookEndpoint,
        made: int,
        slot: Slot,
    ) -> DeliveryResult:
        started, at = time.monotonic(), now()
        number = loaded.delivery.attempts + 1
        answer: Answer | None = None
        error: str | None = None
        blocked = False
        answered: bool | None = False
        try:
            answer = await self._post(loaded, endpoint)
            answered = True
        except BusyError:
            answered = None
            return self._refused(request, DeliveryWait.RESOLVER_BUSY)
        except BlockedUrlError as problem:
            error, blocked = f"blocked: {problem}", True
        except (DeliveryError, AuthError, ConfigurationError) as problem:
            error = str(problem)
        except Exception as problem:
            # Unexpected, but it must still be logged as an attempt.
            error = f"PyTake could not make the request ({type(problem).__name__}): see the worker's log"
            _log.error(
                "a delivery attempt failed unexpectedly",
                delivery_id=request.delivery_id,
                error=type(problem).__name__,
                where=_where(problem),
            )
        finally:
            self._turns.give_back(slot, answered=answered)
        duration = (time.monotonic() - started) * 1000
        ok = answer is not None and succeeded(answer.status)
        DELIVERIES.labels("delivered" if ok else "failed").inc()
        DELIVERY_SECONDS.observe(duration / 1000)
        if answer is not None and not ok:
            error = f"HTTP {answer.status}"
        gone = answer is not None and answer.status == 410
        final = blocked or gone or max(number, made + 1) >= request.max_attempts
        delay = None
        if not ok and not final:
            after = parse_retry_after((answer.headers if answer else {}).get("retry-after"), now())
            wanted = retry_policy_of(endpoint).delay(number, random.random(), after)  # noqa: S311 - jitter
            delay = max(timedelta(seconds=wanted), self._policy.shortest_wait)
        log = Attempt(
            attempt=number,
            at=at,
            ok=ok,
            duration_ms=duration,
            status=answer.status if answer else None,
            headers=answer.headers if answer else None,
            body=answer.body if answer else None,
            error=error,
            next_retry_at=now() + delay if delay else None,
        )
        try:
            raised = await self._database.write(
                deliveries.log_attempt, request.delivery_id, log, self._policy.disable
            )
        except UNAVAILABLE:
            # Our own failure must not cost the tenant an attempt: make the same one again.
            return _defer(DeliveryWait.DATABASE_UNAVAILABLE, 5, made - request.attempts_spent)
        self._dispatcher.soon(raised)
        if ok:
            await self._wake_successor(request, DeliveryStatus.DELIVERED)
            return DeliveryResult(outcome=DeliveryOutcome.DELIVERED, attempts_spent=number)
        raise _failure(error or "failed", retry=not final, delay=delay)

    def _refused(self, request: DeliveryInput, reason: DeliveryWait) -> DeliveryResult:
        """Try again later, with increasing waits so that long waits cost little. Failing the activity
        rather than returning costs no workflow task, which would delay other deliveries.

        Raises:
            ApplicationError: ``Busy``.
        """
        DELIVERY_DEFERRALS.labels(reason.value).inc()
        refusals = _refusals() or 0
        waits = request.waits + refusals
        wait = self._turns.wait(request.tenant_id, request.fairness_key, waits)
        wait *= 1 + random.random()  # noqa: S311 - jitter
        policy = activity.info().retry_policy
        if policy is None or policy.maximum_attempts > 0:
            # Scheduled by an older version, whose retry policy counts attempts: this must not be one.
            result = _defer(reason, wait, activity.info().attempt - 1)
            result.waits = waits + 1
            return result
        activity.heartbeat(refusals + 1)
        raise ApplicationError(
            reason.value,
            type="Busy",
            next_retry_delay=timedelta(seconds=wait),
            category=ApplicationErrorCategory.BENIGN,
        )

    async def _post(self, loaded: Loaded, endpoint: WebhookEndpoint) -> Answer:
        if self._vault is None:
            raise DeliveryError("PYTAKE_ENCRYPTION_KEYS is not set in the worker")
        sealed = self._vault.open(endpoint.sealed)
        extra = self._vault.open(loaded.event.sealed_headers) if loaded.event.sealed_headers else {}
        answer = await self._request(loaded, endpoint, sealed, extra, fresh=False)
        if answer.status == 401 and endpoint.auth_type == "OAuth2":
            answer = await self._request(loaded, endpoint, sealed, extra, fresh=True)
        return answer

    async def _request(
        self,
        loaded: Loaded,
        endpoint: WebhookEndpoint,
        sealed: dict[str, Any],
        extra: dict[str, str],
        *,
        fresh: bool,
    ) -> Answer:
        auth = await self._authenticator.headers(endpoint, sealed, fresh=fresh)
        at = now()
        keys = [signing_key(sealed["secret"])]
        previous = sealed.get("previous_secret")
        if previous and endpoint.previous_secret_until and at < endpoint.previous_secret_until:
            keys.append(signing_key(previous))
        signed = signature_headers(
            event_id=loaded.event.id,
            event_type=loaded.event.type,
            tenant_id=loaded.event.tenant_id,
            at=at,
            body=loaded.event.body,
            keys=keys,
        )
        headers = {
            **sealed.get("custom_headers", {}),
            **extra,
            **auth,
            "Content-Type": "application/json",
            "User-Agent": "PyTake-Webhooks/1",
            "Accept-Encoding": "identity",
            **signed,
        }
        certificate = None
        if endpoint.auth_type == "mTLS":
            certificate = ClientCertificate(sealed["client_certificate"], sealed["client_key"])
        answer, _ = await self._http.post(
            endpoint.url,
            headers=headers,
            body=loaded.event.body.encode(),
            deadline=endpoint.timeout_seconds,
            certificate=certificate,
            owner=endpoint.tenant_id,
        )
        return answer

    async def _discard(self, request: DeliveryInput) -> DeliveryResult:
        await self._finish(request, DeliveryStatus.DISCARDED, "the endpoint is disabled")
        return DeliveryResult(outcome=DeliveryOutcome.DISCARDED, reason="the endpoint is disabled")

    @activity.defn
    async def bury_delivery(self, request: DeliveryInput) -> None:
        """Record that a delivery is a dead letter."""
        await self.bury(request, None)

    async def bury(self, request: DeliveryInput, error: str | None) -> None:
        """Record that a delivery is a dead letter because of ``error`` (``None``: that of its last attempt).
        Idempotent.
        """
        await self._finish(request, DeliveryStatus.DEAD, error)

    async def _finish(
        self, request: DeliveryInput, status: DeliveryStatus, error: str | None
    ) -> None:
        following = await self._database.write(
            deliveries.finish, request.delivery_id, request.run, status, now(), error
        )
        await self._wake(following)

    async def _wake_successor(self, request: DeliveryInput, status: DeliveryStatus) -> None:
        with suppress(*UNAVAILABLE):
            following = await self._database.write(
                deliveries.finish, request.delivery_id, request.run, status, now()
            )
            await self._wake(following)

    async def _wake(self, workflow_id: str | None) -> None:
        """Wake the next delivery of an ordered conversation; if this fails, it checks by itself."""
        if workflow_id is not None:
            with suppress(RPCError):
                await self._client.get_workflow_handle(workflow_id).signal("resume")


def _defer(reason: DeliveryWait, seconds: float, waited: int) -> DeliveryResult:
    return DeliveryResult(
        outcome=DeliveryOutcome.DEFERRED, reason=reason, wait_seconds=seconds, attempts_spent=waited
    )


def _failure(text: str, *, retry: bool, delay: timedelta | None = None) -> ApplicationError:
    return ApplicationError(
        text[:500],
        type="Failed" if retry else "Permanent",
        non_retryable=not retry,
        next_retry_delay=delay,
        category=ApplicationErrorCategory.BENIGN,
    )


def _where(problem: BaseException) -> str:
    """Where an exception was raised, innermost frame last. Without its text, which may quote a secret."""
    frames = traceback.extract_tb(problem.__traceback__)[-6:]
    return " > ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames)


def _refusals() -> int | None:
    """How often this activity found no slot, carried across tries in its heartbeats."""
    details = activity.info().heartbeat_details
    return int(details[0]) if details else None


async def _heartbeats(refusals: int) -> None:
    """Heartbeat until cancelled."""
    while True:
        activity.heartbeat(refusals)
        await asyncio.sleep(_HEARTBEAT_SECONDS)
