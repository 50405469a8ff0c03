"""Meta's callback: verified, made durable, acknowledged; in that order."""

import hmac
import time
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from api.callback.dependencies import FollowUpDep
from api.dependencies import DatabaseDep, SettingsDep
from api.errors import documented
from pytake.callback.body import UnreadableError, read_body
from pytake.callback.follow_up import FollowUp
from pytake.callback.intake import make_durable
from pytake.callback.parse import CALLBACK_PATH, Callback, parse, signature_matches
from pytake.clock import now
from pytake.database.engine import Database
from pytake.problems import (
    ForbiddenError,
    InvalidRequestError,
    ProblemError,
    TooLargeError,
    UnreadableBodyError,
)
from pytake.process.telemetry import CALLBACK_SECONDS, CALLBACK_UPDATES
from pytake.settings import Settings

router = APIRouter(tags=["whatsapp"])


class Received(BaseModel):
    """What a request contained."""

    statuses: int
    messages: int
    other: int


@router.get(
    CALLBACK_PATH,
    response_class=PlainTextResponse,
    responses=documented(ForbiddenError, InvalidRequestError),
)
async def verify(
    settings: SettingsDep,
    mode: Annotated[str, Query(alias="hub.mode")] = "",
    token: Annotated[str, Query(alias="hub.verify_token")] = "",
    challenge: Annotated[str, Query(alias="hub.challenge", max_length=1000)] = "",
) -> str:
    """Meta's verification of the address: returns the challenge if the verify token is right."""
    expected = settings.whatsapp.webhook_verify_token
    given = token.encode("utf-8", "replace")
    if (
        expected is None
        or mode != "subscribe"
        or not hmac.compare_digest(expected.get_secret_value().encode(), given)
    ):
        raise ForbiddenError("hub.verify_token is not WHATSAPP_WEBHOOK_VERIFY_TOKEN")
    return challenge


@router.post(
    CALLBACK_PATH,
    responses=documented(ForbiddenError, UnreadableBodyError, TooLargeError, InvalidRequestError),
)
async def receive(
    request: Request,
    database: DatabaseDep,
    follow_up: FollowUpDep,
    settings: SettingsDep,
    signature: Annotated[str | None, Header(alias="X-Hub-Signature-256")] = None,
) -> Received:
    """Statuses and messages from Meta. 200 once they are durable; Meta retries anything else."""
    started, status = time.monotonic(), "error"
    try:
        received = await _receive(request, signature, database, follow_up, settings)
        status = "ok"
        return received
    except ProblemError as error:
        status = error.slug
        raise
    except ClientDisconnect:
        status = "disconnected"
        raise
    finally:
        CALLBACK_SECONDS.labels(status).observe(time.monotonic() - started)


async def _receive(
    request: Request,
    signature: str | None,
    database: Database,
    follow_up: FollowUp,
    settings: Settings,
) -> Received:
    body = await request.body()
    _authenticate(settings, body, signature)
    callback = await run_in_threadpool(_parse, body)
    stored = await make_durable(database, callback, settings)
    await follow_up.of(stored)
    for receipt in callback.receipts:
        CALLBACK_UPDATES.labels(receipt.observation.value).inc()
    CALLBACK_UPDATES.labels("message").inc(len(callback.messages))
    CALLBACK_UPDATES.labels("other").inc(len(callback.others))
    CALLBACK_UPDATES.labels("set_aside").inc(stored.set_aside)
    if stored.refused:
        raise ProblemError("some updates could be neither stored nor set aside: send them again")
    return Received(
        statuses=len(callback.statuses), messages=len(callback.messages), other=len(callback.others)
    )


def _authenticate(settings: Settings, body: bytes, signature: str | None) -> None:
    if settings.whatsapp.signature_key is not None:
        if not signature_matches(settings.whatsapp.signature_key, body, signature):
            raise ForbiddenError("X-Hub-Signature-256 is missing or wrong")
    elif not (settings.sandbox.enabled and settings.api.serves_loopback):
        raise ForbiddenError("set WHATSAPP_APP_SECRET: callbacks are not taken without a signature")


def _parse(body: bytes) -> Callback:
    try:
        return parse(read_body(body), now())
    except UnreadableError as error:
        raise UnreadableBodyError(str(error)) from None
