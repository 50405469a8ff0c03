"""Meta's callback: verified, made durable, acknowledged; in that order."""

import hmac
import json
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel
from sqlmodel import Session
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from api import sending, tiers
from api.body_limit import WEBHOOK_PATH
from api.callback_events import callback_events
from api.callback_updates import apply_updates
from api.dependencies import DEFAULT_TENANT, Services, ServicesDep
from api.errors import (
    ApiError,
    ConflictError,
    ForbiddenError,
    InvalidRequestError,
    TooLargeError,
    documented,
)
from api.routes.messages import redriven
from api.tiers import LimitChange
from pytake.clock import now
from pytake.domain.autoresponder.said import read_said, unanswerable
from pytake.domain.errors import ERRORS, ErrorClass
from pytake.settings import Settings
from pytake.storage import callbacks, events, numbers, receipts, wishes
from pytake.storage.callbacks import Inbound, Update, Waiting
from pytake.storage.engine import UNAVAILABLE
from pytake.storage.events import Dispatch
from pytake.storage.message_events import raise_for
from pytake.storage.receipts import Receipt
from pytake.storage.tables import Message
from pytake.telemetry import CALLBACK_SECONDS, CALLBACK_UPDATES
from pytake.whatsapp.inbound import Callback, StatusUpdate, parse, signature_matches

router = APIRouter(tags=["whatsapp"])
_log = structlog.get_logger()

_WAIT_CODES = [code for code, rule in ERRORS.items() if rule.error_class is ErrorClass.WAIT]


class Received(BaseModel):
    """What a request brought."""

    statuses: int
    messages: int
    other: int


@router.get(
    WEBHOOK_PATH,
    response_class=PlainTextResponse,
    responses=documented(ForbiddenError, InvalidRequestError),
)
async def verify(
    services: ServicesDep,
    mode: Annotated[str, Query(alias="hub.mode")] = "",
    token: Annotated[str, Query(alias="hub.verify_token")] = "",
    challenge: Annotated[str, Query(alias="hub.challenge", max_length=1000)] = "",
) -> str:
    """Meta's check of the address: echoes the challenge if the verify token is right."""
    expected = services.settings.whatsapp_webhook_verify_token
    given = token.encode("utf-8", "replace")
    if (
        expected is None
        or mode != "subscribe"
        or not hmac.compare_digest(expected.get_secret_value().encode(), given)
    ):
        raise ForbiddenError("hub.verify_token is not WHATSAPP_WEBHOOK_VERIFY_TOKEN")
    return challenge


@router.post(WEBHOOK_PATH, responses=documented(ForbiddenError, InvalidRequestError, TooLargeError))
async def receive(
    request: Request,
    services: ServicesDep,
    signature: Annotated[str | None, Header(alias="X-Hub-Signature-256")] = None,
) -> Received:
    """Statuses and messages from Meta. 200 once they are durable; Meta retries anything else."""
    started, status = time.monotonic(), "error"
    try:
        received = await _receive(request, services, signature)
        status = "ok"
        return received
    except ApiError as error:
        status = error.slug
        raise
    except ClientDisconnect:
        status = "disconnected"
        raise
    finally:
        CALLBACK_SECONDS.labels(status).observe(time.monotonic() - started)


async def _receive(request: Request, services: Services, signature: str | None) -> Received:
    body = await request.body()
    _authenticate(services.settings, body, signature)
    callback = await run_in_threadpool(_parse, body)
    try:
        stored = await services.database.write(_store, callback, services.settings)
    except UNAVAILABLE as error:
        _log.error("callback not made durable", error=type(error).__name__)
        raise ApiError("the updates could not be made durable: send them again") from error
    services.dispatcher.soon(stored.raised)
    services.conversations.soon(stored.waiting)
    if stored.limits:
        services.waker.wake("tier_window_full")
    await _redrive(services, stored.changed)
    for item in callback.statuses:
        CALLBACK_UPDATES.labels(item.observation.value).inc()
    CALLBACK_UPDATES.labels("message").inc(len(callback.messages))
    CALLBACK_UPDATES.labels("other").inc(len(callback.others))
    return Received(
        statuses=len(callback.statuses), messages=len(callback.messages), other=len(callback.others)
    )


def _authenticate(settings: Settings, body: bytes, signature: str | None) -> None:
    if settings.app_secret is not None:
        if not signature_matches(settings.app_secret, body, signature):
            raise ForbiddenError("X-Hub-Signature-256 is missing or wrong")
    elif not (settings.sandbox and settings.serves_loopback):
        raise ForbiddenError("set WHATSAPP_APP_SECRET: callbacks are not taken without a signature")


def _parse(body: bytes) -> Callback:
    try:
        return parse(json.loads(body))
    except (ValueError, RecursionError):
        raise InvalidRequestError("the body is not valid JSON") from None


@dataclass(frozen=True, slots=True)
class _Stored:
    changed: list[str]
    """Ids of messages whose status changed."""
    raised: list[Dispatch]
    limits: list[LimitChange]
    waiting: list[Waiting]
    """Messages that conversations are to be told of."""


def _store(session: Session, callback: Callback, settings: Settings) -> _Stored:
    """Everything of a request, in one transaction."""
    at = now()
    known = {item.phone_number_id for item in callback.statuses}
    known |= {item.phone_number_id for item in callback.messages}
    known |= {item.phone_number_id for item in callback.others if item.phone_number_id}
    owners = callbacks.owners(session, known)
    changed = receipts.apply(session, [_receipt(item, owners) for item in callback.statuses], at)
    waiting = callbacks.store_inbound(
        session,
        [
            Inbound(
                wamid=item.wamid,
                tenant_id=owners.get(item.phone_number_id, DEFAULT_TENANT),
                phone_number_id=item.phone_number_id,
                contact_key=item.contact_key,
                wa_id=item.wa_id,
                user_id=item.user_id,
                name=item.name,
                type=item.type,
                payload=_storable(item.payload),
                sent_at=min(item.at, at),
                answerable=unanswerable(item.type, item.payload) is None,
            )
            for item in callback.messages
        ],
        at,
        answered=settings.auto_responder,
    )
    callbacks.store_updates(
        session,
        [
            Update(
                owners.get(item.phone_number_id or "", DEFAULT_TENANT),
                item.field,
                _storable(item.payload),
                item.problem,
            )
            for item in callback.others
        ],
        at,
    )
    limits = []
    for number, tier in tiers.reported(callback):
        if before := numbers.report_tier(session, number, settings.business_account_id, tier):
            limits.append(LimitChange(number, before, tier))
    raised = raise_for(session, changed, at) if changed else []
    if not settings.auto_responder:
        # Who leaves has left, also where no conversation is told of it.
        said = {item.wamid: read_said(item.type, item.payload) for item in callback.messages}
        raised += wishes.overhear(session, [(w.party, said[w.wamid]) for w in waiting], at)
        waiting = []
    raised += events.emit(session, list(callback_events(callback, limits, owners, at)), at)
    raised += apply_updates(session, callback, owners, settings, at)
    return _Stored(changed, raised, limits, waiting)


def _receipt(item: StatusUpdate, owners: dict[str, str]) -> Receipt:
    ours = item.opaque is not None and item.opaque.startswith("msg_") and len(item.opaque) <= 80
    rule = item.error
    return Receipt(
        wamid=item.wamid,
        observation=item.observation,
        at=item.at,
        tenant_id=owners.get(item.phone_number_id, DEFAULT_TENANT),
        phone_number_id=item.phone_number_id,
        message_id=item.opaque if ours else None,
        recipient=item.recipient,
        pricing_category=item.pricing_category,
        pricing_type=item.pricing_type,
        billable=item.billable,
        error_code=rule.code if rule else None,
        error_class=rule.error_class.value if rule else None,
        error_title=rule.title if rule else None,
        error_detail=item.error_detail if rule else None,
        error_advice=rule.advice if rule else None,
    )


async def _redrive(services: Services, changed: list[str]) -> None:
    """Queue again, for after their wait, messages that failed with a code that says wait."""
    if services.settings.wait_codes != "redrive" or not changed:
        return
    rows: list[Message] = await services.database.read(
        receipts.failed_to_redrive, changed, _WAIT_CODES
    )
    for row in rows:
        wait = timedelta(seconds=ERRORS[row.error_code or 0].wait_seconds)
        try:
            await sending.redrive(services, await redriven(services, row, now(), wait))
        except ConflictError:
            continue  # a repeat of this request has done it


def _storable(value: Any) -> Any:
    """Without what PostgreSQL's JSON cannot hold: null characters and halves of surrogate pairs."""
    if isinstance(value, str):
        return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_storable(key): _storable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_storable(item) for item in value]
    return value
