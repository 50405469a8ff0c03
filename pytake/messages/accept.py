"""Accepting messages: check, assign an id, start the workflow. The only way in.

Single requests, batch items, auto-responder replies and redriven dead letters all come through here.
"""

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

import structlog
from temporalio.client import Client
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from pytake.access.principals import Principal
from pytake.access.token_buckets import TokenBuckets
from pytake.clock import now
from pytake.contacts import opt_outs
from pytake.contacts.hashing import ContactHashes
from pytake.contacts.identities import contact_key
from pytake.database.engine import UNAVAILABLE, Database
from pytake.database.timed_cache import TimedCache
from pytake.messages import checks, store
from pytake.messages.checks import VALIDITY
from pytake.messages.content import MessageType, is_free_form
from pytake.messages.contracts import (
    MessageInput,
    MessageMemo,
    idempotent_message_id,
    new_message_id,
)
from pytake.messages.events import has_endpoints, raise_queued
from pytake.messages.first_tasks import FirstTasks
from pytake.messages.options import AcceptOptions
from pytake.messages.quota import ScheduledQuota
from pytake.messages.redrive import redriven
from pytake.messages.start import start_message
from pytake.messages.tables import Message
from pytake.numbers.choice import NumberChoice
from pytake.problems import ConflictError, InvalidRequestError
from pytake.temporal.attributes import MEMO_MESSAGE
from pytake.temporal.priority import Priority
from pytake.webhooks.dispatch import Dispatcher

_log = structlog.get_logger()

_CACHE_SECONDS: Final = 3.0
"""How long to cache whether a tenant has webhook endpoints, and whether any contact opted out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewMessage:
    """A message to be sent, as requested; ``None`` where a default applies."""

    tenant_id: str
    to: str
    """As written: a telephone number or a business-scoped user id."""
    message_type: MessageType
    content: dict[str, Any]
    phone_number_id: str | None = None
    priority: Priority = Priority.NORMAL
    max_attempts: int = 5
    scheduled_for: datetime | None = None
    expires_at: datetime | None = None
    reply_to: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    check_window: bool = True
    message_id: str | None = None
    """Set for auto-responder replies, whose id derives from the message they answer."""
    idempotency_key: str | None = None
    fingerprint: str = ""
    """Hash of the whole request, if it has an ``idempotency_key``."""


class Acceptor:
    """Accepts messages; one instance per process."""

    def __init__(
        self,
        client: Client,
        database: Database,
        dispatcher: Dispatcher,
        numbers: NumberChoice,
        hashes: ContactHashes,
        options: AcceptOptions,
    ) -> None:
        self._client = client
        self._database = database
        self._dispatcher = dispatcher
        self._options = options
        self._numbers = numbers
        self._hashes = hashes
        self._quota = ScheduledQuota(client, options.max_scheduled)
        self._first_tasks = FirstTasks()
        self._buckets = TokenBuckets()
        self._endpoints = TimedCache(self._has_endpoints, _CACHE_SECONDS)
        self._opted_out = TimedCache(self._has_opt_outs, _CACHE_SECONDS)

    async def accept(self, new: NewMessage, principal: Principal) -> tuple[str, str]:
        """Accept a message, or return the one that the same request created before.

        Returns:
            Its id, and ``queued`` or ``scheduled``.

        Raises:
            InvalidRequestError: the message is invalid; the ``Idempotency-Key`` was used with another
                body; or the tenant has reached its limit of scheduled messages.
            RPCError: Temporal was not reached.
        """
        try:
            message = await self._checked(new, principal)
        except InvalidRequestError:
            # A repeat of an accepted request succeeds even if it would no longer pass the checks.
            with suppress(RPCError, *UNAVAILABLE):
                if new.fingerprint and (before := await self._before(_id_of(new), new.fingerprint)):
                    return _id_of(new), before
            raise
        status = await self._start(message)
        await self._announce(message)
        return message.message_id, status

    async def accept_all(
        self, new: Sequence[NewMessage], principal: Principal
    ) -> list[MessageInput]:
        """Accept several messages in order: all are checked before the first is started.

        Returns:
            Those that were started. If Temporal refuses one, or goes down, it and those after it are
            missing: an error would have the caller repeat those before.

        Raises:
            InvalidRequestError: one of them is not valid, or the first was refused; none was started.
            RPCError: Temporal was not reached; none was started.
        """
        messages = [await self._checked(item, principal) for item in new]
        started: list[MessageInput] = []
        for message in messages:
            try:
                await self._start(message)
            except (InvalidRequestError, RPCError) as error:
                if not started:
                    raise
                _log.warning(
                    "messages of one request left out",
                    count=len(messages) - len(started),
                    error=type(error).__name__,
                )
                break
            started.append(message)
        for message in started:
            await self._announce(message)
        return started

    async def answer(self, new: NewMessage, at: datetime) -> str:
        """Accept an auto-responder reply, once per message id; returns the id.

        Raises:
            RPCError: Temporal was not reached.
        """
        number = new.phone_number_id or self._options.phone_number_id
        message = self._message(
            new,
            recipient=new.to,
            phone_number_id=number,
            rate=await self._numbers.rate_of(number),
            at=at,
            direct=self._options.direct,
        )
        with suppress(WorkflowAlreadyStartedError):
            await self._run(message, WorkflowIDReusePolicy.REJECT_DUPLICATE)
            await self._announce(message)
        return message.message_id

    async def redrive(self, row: Message, delay: timedelta = timedelta(0)) -> MessageInput:
        """Send a dead letter again: a new run under the same workflow id, at its number's current rate,
        after ``delay``. Receipts for its earlier wamids are ignored.

        Raises:
            ConflictError: the message is already in flight.
            RPCError: Temporal was not reached.
        """
        message = redriven(
            row, await self._numbers.rate_of(row.phone_number_id), now(), delay, self._options
        )
        try:
            await self._run(message, WorkflowIDReusePolicy.ALLOW_DUPLICATE)
        except WorkflowAlreadyStartedError:
            raise ConflictError("the message is in flight already") from None
        if delay:  # its first task may come as late; until then it must not show as a dead letter
            with suppress(*UNAVAILABLE):
                await self._database.write(
                    store.begin_redrive,
                    message.message_id,
                    message.generation,
                    message.superseded_wamids,
                    now(),
                )
        return message

    async def _checked(self, new: NewMessage, principal: Principal) -> MessageInput:
        """Check everything that can be checked before the workflow starts."""
        recipient = checks.recipient(new.to, self._options.default_region)
        checks.content(new.message_type, new.content)
        at = now()
        checks.times(new.scheduled_for, new.expires_at, at)
        sender = await self._numbers.sender(principal, new.tenant_id, new.phone_number_id)
        if new.check_window and is_free_form(new.message_type) and new.scheduled_for is None:
            with suppress(*UNAVAILABLE):  # Meta would refuse it with 131047
                await self._database.read(
                    checks.window, sender.phone_number_id, recipient, principal.scope, at
                )
        if new.message_type is MessageType.TEMPLATE:
            template = str(new.content.get("name"))
            with suppress(*UNAVAILABLE):  # the worker checks again before it sends
                # An opt-out on a shared number applies to every tenant that sends from it.
                for tenant_id in {new.tenant_id, sender.tenant_id}:
                    if await self._opted_out.get(tenant_id):
                        await self._database.read(checks.opt_out, tenant_id, recipient, template)
        later = new.scheduled_for is not None and new.scheduled_for > at
        return self._message(
            new,
            recipient=recipient,
            phone_number_id=sender.phone_number_id,
            rate=sender.messages_per_second,
            at=at,
            direct=not later
            and self._goes_directly(sender.phone_number_id, sender.messages_per_second),
        )

    def _message(
        self,
        new: NewMessage,
        *,
        recipient: str,
        phone_number_id: str,
        rate: float,
        at: datetime,
        direct: bool,
    ) -> MessageInput:
        later = new.scheduled_for is not None and new.scheduled_for > at
        return MessageInput(
            message_id=new.message_id or _id_of(new),
            tenant_id=new.tenant_id,
            phone_number_id=phone_number_id,
            recipient=recipient,
            message_type=new.message_type,
            content=new.content,
            priority=new.priority,
            max_attempts=new.max_attempts,
            created_at=at,
            expires_at=new.expires_at or (new.scheduled_for or at) + VALIDITY,
            scheduled_for=new.scheduled_for if later else None,
            reply_to=new.reply_to,
            metadata=new.metadata,
            check_window=new.check_window,
            messages_per_second=rate,
            send_timeout_seconds=self._options.call_timeout,
            receipt_wait_seconds=self._options.receipt_wait,
            fingerprint=new.fingerprint,
            direct=direct,
        )

    async def _start(self, message: MessageInput) -> str:
        """Start the message's workflow, or find the one that an identical request started."""
        if message.fingerprint and (
            before := await self._recorded_before(message.message_id, message.fingerprint)
        ):
            return before
        if message.scheduled_for:
            try:
                await self._quota.take(message.tenant_id)
            except InvalidRequestError:
                if message.fingerprint and (
                    before := await self._started_before(message.message_id, message.fingerprint)
                ):
                    return before
                raise
        try:
            await self._run(message, WorkflowIDReusePolicy.REJECT_DUPLICATE)
        except WorkflowAlreadyStartedError:
            return await self._started_before(message.message_id, message.fingerprint) or "queued"
        return "scheduled" if message.scheduled_for else "queued"

    async def _run(self, message: MessageInput, reuse: WorkflowIDReusePolicy) -> None:
        """Start the workflow: the one durable write."""
        contact_hash = await self._hashes.of(contact_key(message.recipient))
        try:
            if message.scheduled_for is None:
                await start_message(self._client, message, contact_hash, reuse)
                return
            async with self._first_tasks.turn(_ahead(message.scheduled_for)):
                delay = self._first_tasks.delay(_ahead(message.scheduled_for))
                await start_message(
                    self._client, message, contact_hash, reuse, timedelta(seconds=delay) or None
                )
        except RPCError as error:
            if error.status is RPCStatusCode.INVALID_ARGUMENT:
                raise InvalidRequestError(
                    "the message is too large for a workflow's input"
                ) from error
            raise

    async def _before(self, message_id: str, fingerprint: str) -> str | None:
        """The status that an earlier identical request got; ``None`` if this one is new."""
        recorded = await self._recorded_before(message_id, fingerprint)
        return recorded or await self._started_before(message_id, fingerprint)

    async def _recorded_before(self, message_id: str, fingerprint: str) -> str | None:
        row = await self._database.read(store.get, message_id)
        if row is None or not row.recorded:
            return None
        return _same(fingerprint, row.fingerprint, row.scheduled_for)

    async def _started_before(self, message_id: str, fingerprint: str) -> str | None:
        try:
            description = await self._client.get_workflow_handle(message_id).describe()
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return None
            raise
        memo = MessageMemo.model_validate((await description.memo())[MEMO_MESSAGE])
        return _same(fingerprint, memo.fingerprint, memo.scheduled_for)

    async def _announce(self, message: MessageInput) -> None:
        """Raise ``message.queued``. If this fails, recording the outcome raises it later."""
        with suppress(*UNAVAILABLE):
            if await self._endpoints.get(message.tenant_id):
                raised = await self._database.write(raise_queued, message, now())
                self._dispatcher.soon(raised)

    def _goes_directly(self, phone_number_id: str, rate: float) -> bool:
        """Whether a message may skip the queue: only while its number's messages arrive no faster
        than the number may send. Beyond that rate they would have to wait in the queue anyway.
        """
        return self._options.direct and not self._buckets.take(
            phone_number_id, rate, max(rate, 1.0)
        )

    async def _has_endpoints(self, tenant_id: str) -> bool:
        return await self._database.read(has_endpoints, {tenant_id})

    async def _has_opt_outs(self, tenant_id: str) -> bool:
        return await self._database.read(opt_outs.has_any, tenant_id)


def _ahead(at: datetime) -> float:
    return (at - now()).total_seconds()


def fingerprint(request: dict[str, Any]) -> str:
    """Hash of a request, to detect an ``Idempotency-Key`` reused with another body."""
    return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()


def _id_of(new: NewMessage) -> str:
    if new.idempotency_key is None:
        return new_message_id()
    return idempotent_message_id(new.tenant_id, new.idempotency_key)


def _same(fingerprint: str, before: str, scheduled_for: datetime | None) -> str:
    if fingerprint != before:
        raise InvalidRequestError.of(
            "Idempotency-Key", "was used before with another body: use a new key for a new message"
        )
    return "scheduled" if scheduled_for else "queued"
