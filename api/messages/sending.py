"""From a request to a running workflow: validation, identity, and the one durable write."""

import hashlib
import json
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Final

from pydantic import ValidationError
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from api.dependencies import Principal, Services
from api.schemas import SendBody
from pytake.clock import now
from pytake.contacts import opt_outs
from pytake.contacts.identities import InvalidRecipientError, contact_key, normalise
from pytake.conversations import inbox
from pytake.database.engine import UNAVAILABLE
from pytake.messages import store as messages
from pytake.messages.content import MessageType, is_free_form, parse_content
from pytake.messages.contracts import (
    MessageInput,
    MessageMemo,
    idempotent_message_id,
    new_message_id,
)
from pytake.messages.events import raise_queued
from pytake.messages.start import start_message
from pytake.problems import ConflictError, InvalidRequestError
from pytake.temporal.attributes import MEMO_MESSAGE
from pytake.whatsapp.errors import rule_for
from pytake.whatsapp.limits import window_open

VALIDITY: Final = timedelta(hours=24)
_PAST_TOLERANCE: Final = timedelta(minutes=1)
_HORIZON: Final = timedelta(days=366)


async def prepare(
    services: Services, principal: Principal, body: SendBody, idempotency_key: str | None = None
) -> MessageInput:
    """Check everything that can be checked before anything starts.

    Raises:
        InvalidRequestError, ForbiddenError.
    """
    tenant_id = principal.acting_for(body.tenant_id)
    settings = services.settings
    try:
        recipient = normalise(body.to, settings.default_region)
    except InvalidRecipientError as error:
        raise InvalidRequestError.of("to", str(error)) from None
    try:
        parse_content(body.message_type, body.content)
    except ValidationError as error:
        raise InvalidRequestError.from_pydantic(error.errors(), ("content",)) from None
    at = now()
    check_times(body.scheduled_for, body.expires_at, at)
    phone_number_id, rate = await services.number_for(principal, tenant_id, body.phone_number_id)
    if body.check_window and is_free_form(body.message_type) and body.scheduled_for is None:
        await _check_window(services, principal, phone_number_id, recipient, at)
    if body.message_type is MessageType.TEMPLATE:
        whose = {tenant_id, await services.numbers.owner_of(phone_number_id) or tenant_id}
        await _check_opt_out(services, whose, recipient, str(body.content.get("name")))
    message_id = (
        idempotent_message_id(tenant_id, idempotency_key) if idempotency_key else new_message_id()
    )
    later = body.scheduled_for is not None and body.scheduled_for > at
    return MessageInput(
        message_id=message_id,
        tenant_id=tenant_id,
        phone_number_id=phone_number_id,
        recipient=recipient,
        message_type=body.message_type,
        content=body.content,
        priority=body.priority,
        max_attempts=body.max_attempts,
        created_at=at,
        expires_at=body.expires_at or (body.scheduled_for or at) + VALIDITY,
        scheduled_for=body.scheduled_for if later else None,
        reply_to=body.reply_to,
        metadata=body.metadata,
        check_window=body.check_window,
        messages_per_second=rate,
        send_timeout_seconds=settings.whatsapp_timeout_seconds,
        receipt_wait_seconds=settings.receipt_wait_seconds,
        fingerprint=_fingerprint(body) if idempotency_key else "",
        direct=not later and services.goes_directly(phone_number_id, rate),
    )


def after(seconds: float) -> datetime | None:
    """``scheduled_for`` of a message that waits; ``None`` for one that does not."""
    return now() + timedelta(seconds=seconds) if seconds else None


def check_times(scheduled_for: datetime | None, expires_at: datetime | None, at: datetime) -> None:
    """Check a schedule and a validity against each other and the clock.

    Raises:
        InvalidRequestError.
    """
    if scheduled_for is not None and scheduled_for < at - _PAST_TOLERANCE:
        raise InvalidRequestError.of("scheduled_for", "is in the past: leave it out to send now")
    if scheduled_for is not None and scheduled_for > at + _HORIZON:
        raise InvalidRequestError.of("scheduled_for", "is more than a year ahead")
    if expires_at is not None and expires_at <= max(at, scheduled_for or at):
        raise InvalidRequestError.of("expires_at", "must be after now and after scheduled_for")
    if expires_at is not None and expires_at > at + 2 * _HORIZON:
        raise InvalidRequestError.of("expires_at", "is more than two years ahead")


async def start(services: Services, message: MessageInput) -> str:
    """Start the message's workflow, or find the one that the same request started before.

    Returns:
        ``queued`` or ``scheduled``.

    Raises:
        InvalidRequestError: the ``Idempotency-Key`` was used with another body, or the tenant has as
            many messages scheduled as it may.
    """
    if message.fingerprint:
        row = await services.database.read(messages.get, message.message_id)
        if row is not None and row.recorded:
            return _same(message, row.fingerprint, row.scheduled_for)
    if message.scheduled_for:
        try:
            await services.scheduled.take(message.tenant_id)
        except InvalidRequestError:
            if message.fingerprint and (before := await _started_before(services, message)):
                return before
            raise
    try:
        await _start(services, message, WorkflowIDReusePolicy.REJECT_DUPLICATE)
    except WorkflowAlreadyStartedError:
        return await _started_before(services, message) or "queued"
    return "scheduled" if message.scheduled_for else "queued"


async def _started_before(services: Services, message: MessageInput) -> str | None:
    """What the same request was answered before; ``None`` if it is new."""
    try:
        description = await services.client.get_workflow_handle(message.message_id).describe()
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return None
        raise
    memo = MessageMemo.model_validate((await description.memo())[MEMO_MESSAGE])
    return _same(message, memo.fingerprint, memo.scheduled_for)


async def announce(services: Services, started: list[MessageInput]) -> None:
    """Raise ``message.queued``. The record of the outcome makes up for what is missed here."""
    with suppress(*UNAVAILABLE):
        for message in started:
            if await services.listens(message.tenant_id):
                raised = await services.database.write(raise_queued, message, now())
                services.dispatcher.soon(raised)


async def redrive(services: Services, message: MessageInput) -> None:
    """Start a new run of a dead letter under the same workflow id.

    Raises:
        ConflictError: it is in flight already.
    """
    try:
        await _start(services, message, WorkflowIDReusePolicy.ALLOW_DUPLICATE)
    except WorkflowAlreadyStartedError:
        raise ConflictError("the message is in flight already") from None


async def _start(services: Services, message: MessageInput, reuse: WorkflowIDReusePolicy) -> None:
    contact_hash = await services.contact_hash(contact_key(message.recipient))
    try:
        if message.scheduled_for is None:
            await start_message(services.client, message, contact_hash, reuse)
            return
        async with services.first_tasks.turn(_ahead(message.scheduled_for)):
            ahead = _ahead(message.scheduled_for)
            delay = timedelta(seconds=services.first_tasks.delay(ahead))
            await start_message(services.client, message, contact_hash, reuse, delay or None)
    except RPCError as error:
        if error.status is RPCStatusCode.INVALID_ARGUMENT:
            raise InvalidRequestError("the message is too large for a workflow's input") from error
        raise


def _ahead(at: datetime) -> float:
    return (at - now()).total_seconds()


async def _check_window(
    services: Services, principal: Principal, phone_number_id: str, recipient: str, at: datetime
) -> None:
    """Refuse free-form messages outside the window, as the asker knows it: what a contact wrote to
    another tenant on a shared number opens none here, or the answer would tell of it.
    """
    try:
        last = await services.database.read(
            inbox.last_inbound_at, phone_number_id, contact_key(recipient), principal.scope
        )
    except UNAVAILABLE:
        return  # Meta decides: it refuses with 131047 what is outside the window
    if not window_open(last, at):
        rule = rule_for(131047)
        raise InvalidRequestError.of(
            "message_type",
            "the customer service window is closed (the recipient has not written to this tenant in the "
            'last 24 hours): send a template, or set "check_window": false to try anyway',
            code=rule.code,
        )


async def _check_opt_out(
    services: Services, tenants: set[str], recipient: str, template: str
) -> None:
    """Refuse marketing to a contact who opted out of the sender's or the number's owner's, where it is
    known to be marketing; what is not known here, the worker finds out before it sends.
    """
    try:
        refused = [
            await services.database.read(
                opt_outs.refuses, tenant_id, contact_key(recipient), template
            )
            for tenant_id in tenants
            if await services.has_opt_outs(tenant_id)
        ]
    except UNAVAILABLE:
        return
    if any(refused):
        rule = rule_for(131050)
        raise InvalidRequestError.of(
            "to",
            "the contact opted out of marketing messages, and the template is marketing: do not "
            "send it until they come back (VOLTAR)",
            code=rule.code,
        )


def _same(message: MessageInput, fingerprint: str, scheduled_for: datetime | None) -> str:
    if fingerprint != message.fingerprint:
        raise InvalidRequestError.of(
            "Idempotency-Key", "was used before with another body: use a new key for a new message"
        )
    return "scheduled" if scheduled_for else "queued"


def _fingerprint(body: SendBody) -> str:
    content: dict[str, Any] = body.model_dump(mode="json")
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
