"""The auto-responder: rules, business hours, and trying out a message."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from http import HTTPStatus
from typing import Annotated, Any, Final
from uuid import uuid4

from fastapi import APIRouter, Body, Query, Response
from sqlmodel import Session
from ulid import ULID

from api.conversations.dependencies import BooksDep
from api.conversations.schemas import (
    HoursBody,
    HoursView,
    MatchedRule,
    ProcessBody,
    ProcessResult,
    ReplyMessage,
    RuleBody,
    RuleList,
    RuleReason,
    RuleUpdate,
    RuleView,
    ToggleBody,
)
from api.dependencies import (
    AcceptorDep,
    DatabaseDep,
    DispatcherDep,
    NumbersDep,
    PrincipalDep,
    SettingsDep,
)
from api.errors import documented
from api.fields import NumberQuery, TenantQuery
from pytake.access.principals import Principal
from pytake.clock import now
from pytake.contacts.identities import InvalidRecipientError, contact_key, normalise
from pytake.conversations import rule_store as rules
from pytake.conversations.answer import answer, new_message, policy_of
from pytake.conversations.apply import OutdatedError
from pytake.conversations.decide import Verdict, decide
from pytake.conversations.heard import history
from pytake.conversations.load import Loaded, load
from pytake.conversations.party import Party
from pytake.conversations.rule_store import TooMuchError
from pytake.conversations.rules.hours import BusinessHours
from pytake.conversations.rules.rules import Rule
from pytake.conversations.rules.said import Said
from pytake.conversations.snapshot import Heard
from pytake.conversations.state import drop
from pytake.conversations.tables import AutoReply
from pytake.database.engine import Database
from pytake.messages.accept import Acceptor
from pytake.messages.contracts import MessageInput
from pytake.numbers.choice import NumberChoice
from pytake.problems import (
    ConflictError,
    ForbiddenError,
    InvalidRequestError,
    NotFoundError,
    TooLargeError,
    UnauthorizedError,
    UnavailableError,
)
from pytake.settings import ConversationSettings, WhatsAppSettings
from pytake.temporal.client import UNREACHABLE

router = APIRouter(prefix="/api/v1/auto-responder", tags=["auto-responder"])

_NO_PROBLEMS: Final[Mapping[str, str]] = {}
_PARTLY_QUEUED: Final = "the messages without an id could not be queued"
_COMMON = documented(UnauthorizedError, ForbiddenError, InvalidRequestError, UnavailableError)
_ONE = _COMMON | documented(NotFoundError)


async def _tenant_of(
    database: Database, settings: ConversationSettings, principal: Principal, tenant_id: str | None
) -> str:
    """The tenant a request is for, with its auto-responder set up.

    Raises:
        ForbiddenError: the request names a tenant other than the key's.
    """
    tenant_id = principal.acting_for(tenant_id)
    if not await database.read(rules.installed, tenant_id):
        await database.write(rules.install, tenant_id, now(), defaults=settings.default_rules)
    return tenant_id


@router.get("/rules", responses=_COMMON)
async def list_rules(
    database: DatabaseDep,
    settings: SettingsDep,
    principal: PrincipalDep,
    active: Annotated[bool | None, Query(description="Only those switched on, or off")] = None,
    tenant_id: TenantQuery = None,
) -> RuleList:
    """A tenant's rules, in the order in which equally specific rules are tried."""
    tenant = await _tenant_of(database, settings.conversations, principal, tenant_id)
    found = await database.read(rules.list_all, tenant)
    problems = await database.read(rules.problems, tenant)
    return RuleList(
        rules=[
            _view(tenant, rule, problems)
            for rule in found
            if active is None or rule.active is active
        ]
    )


@router.post(
    "/rules",
    status_code=HTTPStatus.CREATED,
    responses=_COMMON | documented(ConflictError, TooLargeError),
)
async def create_rule(
    body: RuleBody,
    response: Response,
    database: DatabaseDep,
    numbers: NumbersDep,
    settings: SettingsDep,
    principal: PrincipalDep,
) -> RuleView:
    """Create a rule. What WhatsApp could not send is refused; 409 if the id is in use."""
    tenant = await _tenant_of(database, settings.conversations, principal, body.tenant_id)
    await _check_number(numbers, settings.whatsapp, principal, tenant, body.phone_number_id)
    rule_id = body.id or f"rule_{ULID()}".lower()
    most = settings.conversations.max_rules
    with _limits_as_problems():
        rule = await database.write(rules.create, tenant, rule_id, body, now(), most=most)
    if rule is None:
        raise ConflictError(f"there is a rule {rule_id!r} already: change it with PUT")
    response.headers["Location"] = f"/api/v1/auto-responder/rules/{rule_id}"
    return _view(tenant, rule)


@router.get("/rules/{rule_id}", responses=_ONE)
async def get_rule(
    rule_id: str,
    database: DatabaseDep,
    settings: SettingsDep,
    principal: PrincipalDep,
    tenant_id: TenantQuery = None,
) -> RuleView:
    """A rule."""
    tenant = await _tenant_of(database, settings.conversations, principal, tenant_id)
    rule = await database.read(rules.get, tenant, rule_id)
    return _found(tenant, rule_id, rule, await database.read(rules.problems, tenant))


@router.put("/rules/{rule_id}", responses=_ONE | documented(TooLargeError))
async def replace_rule(
    rule_id: str,
    body: RuleUpdate,
    database: DatabaseDep,
    numbers: NumbersDep,
    settings: SettingsDep,
    principal: PrincipalDep,
    tenant_id: TenantQuery = None,
) -> RuleView:
    """Replace a rule; fields left out take their defaults; ``created_at`` is kept."""
    if body.id not in (None, rule_id):
        raise InvalidRequestError.of("id", "differs from the one in the path")
    tenant = await _tenant_of(
        database, settings.conversations, principal, tenant_id or body.tenant_id
    )
    _found(tenant, rule_id, await database.read(rules.get, tenant, rule_id))
    await _check_number(numbers, settings.whatsapp, principal, tenant, body.phone_number_id)
    most = settings.conversations.max_rules
    with _limits_as_problems():
        rule = await database.write(rules.save, tenant, rule_id, body, now(), most=most)
    return _view(tenant, rule)


async def _check_number(
    numbers: NumberChoice,
    settings: WhatsAppSettings,
    principal: Principal,
    tenant_id: str,
    phone_number_id: str | None,
) -> None:
    """Refuse a rule for a number that the tenant cannot send from, also to an admin.

    Raises:
        InvalidRequestError: with the same text whether the number is another tenant's or unknown.
    """
    if phone_number_id is None:
        return
    if principal.keyless and phone_number_id == settings.phone_number_id:
        return  # without keys everybody shares it
    await numbers.named(tenant_id, phone_number_id, any_owner=False)


@contextmanager
def _limits_as_problems() -> Iterator[None]:
    """Turns exceeded limits of a tenant's rules into problem details."""
    try:
        yield
    except TooMuchError as error:
        if error.field is None:
            raise ConflictError(f"{error} (PYTAKE_MAX_RULES)") from None
        raise InvalidRequestError.of(error.field, str(error)) from None


@router.delete("/rules/{rule_id}", status_code=HTTPStatus.NO_CONTENT, responses=_ONE)
async def delete_rule(
    rule_id: str,
    database: DatabaseDep,
    settings: SettingsDep,
    principal: PrincipalDep,
    tenant_id: TenantQuery = None,
) -> None:
    """Delete a rule; deleted rules of the starting set do not come back."""
    tenant = await _tenant_of(database, settings.conversations, principal, tenant_id)
    if not await database.write(rules.delete, tenant, rule_id):
        raise _unknown(rule_id)


@router.post("/rules/{rule_id}/toggle", responses=_ONE)
async def toggle_rule(
    rule_id: str,
    database: DatabaseDep,
    settings: SettingsDep,
    principal: PrincipalDep,
    body: Annotated[ToggleBody | None, Body()] = None,
    tenant_id: TenantQuery = None,
) -> RuleView:
    """Switch a rule on or off."""
    tenant = await _tenant_of(database, settings.conversations, principal, tenant_id)
    active = body.active if body else None
    rule = await database.write(rules.toggle, tenant, rule_id, active, now())
    return _found(tenant, rule_id, rule)


@router.get("/business-hours", responses=_COMMON)
async def get_hours(
    database: DatabaseDep,
    principal: PrincipalDep,
    phone_number_id: NumberQuery = None,
    tenant_id: TenantQuery = None,
) -> HoursView:
    """Business hours of a number; else the tenant's general ones; else the defaults."""
    tenant = principal.acting_for(tenant_id)
    number = phone_number_id or ""
    if number and await database.read(rules.hours_body, tenant, number) is None:
        number = ""
    hours = await database.read(rules.hours_of, tenant, number)
    configured = await database.read(rules.hours_body, tenant, number) is not None
    return _hours_view(tenant, number, hours, configured=configured)


@router.put("/business-hours", responses=_COMMON)
async def put_hours(
    body: HoursBody,
    database: DatabaseDep,
    numbers: NumbersDep,
    principal: PrincipalDep,
    phone_number_id: NumberQuery = None,
    tenant_id: TenantQuery = None,
) -> HoursView:
    """Set the business hours of a number; without one, of all numbers that have none of their own."""
    tenant = principal.acting_for(tenant_id)
    if phone_number_id is not None:
        await numbers.sender(principal, tenant, phone_number_id)
    hours = BusinessHours.model_validate(body.model_dump())
    await database.write(rules.save_hours, tenant, phone_number_id or "", hours, now())
    return _hours_view(tenant, phone_number_id or "", hours, configured=True)


@router.post("/process", responses=_COMMON | documented(ConflictError, TooLargeError))
async def process(
    body: ProcessBody,
    database: DatabaseDep,
    books: BooksDep,
    numbers: NumbersDep,
    dispatcher: DispatcherDep,
    acceptor: AcceptorDep,
    settings: SettingsDep,
    principal: PrincipalDep,
) -> ProcessResult:
    """The answer that a message would get; with ``deliver`` it is sent and counted."""
    tenant = await _tenant_of(database, settings.conversations, principal, body.tenant_id)
    try:
        recipient = normalise(body.from_, settings.messages.default_region)
    except InvalidRecipientError as error:
        raise InvalidRequestError.of("from", str(error)) from None
    number = (await numbers.sender(principal, tenant, body.phone_number_id)).phone_number_id
    at = now()
    heard = Heard(
        said=Said(body.message, body.reply_id), at=at, recipient=recipient, name=body.name
    )
    party = Party(tenant, number, contact_key(recipient))
    # Also while the auto-responder is off.
    policy = replace(policy_of(settings.conversations), answers=True)

    def load_said(session: Session) -> Loaded:
        first, silence = history(session, party, at)
        if body.is_first_message is not None:
            first = body.is_first_message
        return load(session, books, party, [heard], policy, at, first=first, silence=silence)

    if not body.deliver:  # nothing is stored
        loaded = await database.read(load_said)
        verdict = await asyncio.to_thread(
            decide, loaded.snapshot, loaded.book, policy, explain=body.explain
        )
        return _result(verdict, [], explain=body.explain)
    key = f"process_{uuid4().hex}"
    try:
        answered = await answer(database, load_said, party, policy, key, explain=body.explain)
    except OutdatedError:
        raise ConflictError(
            "the tenant's rules change faster than they can be read: try again"
        ) from None
    dispatcher.soon(answered.applied.raised)
    queued = await _deliver(acceptor, database, principal, answered.applied.reply)
    return _result(answered.verdict, queued, explain=body.explain)


async def _deliver(
    acceptor: Acceptor, database: Database, principal: Principal, reply: AutoReply
) -> list[MessageInput]:
    """Queue the answer's messages, or the first of them; if none is queued, the answer counts as not given."""
    at = now() + timedelta(seconds=reply.delay_seconds) if reply.delay_seconds else None
    wanted = [
        # According to the caller the contact just wrote, so the window is open.
        replace(new_message(reply, index), scheduled_for=at, check_window=False)
        for index in range(len(reply.messages))
    ]
    try:
        return await acceptor.accept_all(wanted, principal)
    except (InvalidRequestError, *UNREACHABLE):
        await database.write(drop, reply.key, "it could not be sent")
        raise


def _result(verdict: Verdict, queued: list[MessageInput], *, explain: bool) -> ProcessResult:
    reply, choice = verdict.reply, verdict.choice
    rule = choice.rule if choice else None
    ids: list[str | None] = [message.message_id for message in queued]
    ids += [None] * (len(reply.messages) - len(ids))
    reasons = choice.reasons if choice else []
    return ProcessResult(
        matched=rule is not None,
        rule=MatchedRule(id=rule.id, name=rule.name) if rule else None,
        action=choice.response.model_dump(mode="json", exclude_none=True)
        if choice and choice.response
        else None,
        messages=[
            ReplyMessage(message_type=kind, content=content, message_id=message_id)
            for (kind, content), message_id in zip(reply.messages, ids, strict=True)
        ],
        delay_seconds=reply.delay_seconds,
        delivered=bool(queued),
        reason=_PARTLY_QUEUED if 0 < len(queued) < len(reply.messages) else reply.reason,
        explain=[RuleReason(rule_id=r.rule_id, matched=r.matched, reason=r.reason) for r in reasons]
        if explain
        else None,
    )


def _hours_view(
    tenant_id: str, phone_number_id: str, hours: BusinessHours, *, configured: bool
) -> HoursView:
    at = now()
    values: dict[str, Any] = hours.model_dump()
    return HoursView(
        **values,
        tenant_id=tenant_id,
        phone_number_id=phone_number_id or None,
        configured=configured,
        open_now=hours.is_open(at),
        opens_at=hours.next_opening(at),
        holiday_today=hours.holiday(at.astimezone(hours.zone).date()),
    )


def _view(tenant_id: str, rule: Rule, problems: Mapping[str, str] = _NO_PROBLEMS) -> RuleView:
    own = {"tenant_id": tenant_id, "problem": problems.get(rule.id)}
    return RuleView.model_validate({**rule.model_dump(), **own})


def _found(
    tenant_id: str, rule_id: str, rule: Rule | None, problems: Mapping[str, str] = _NO_PROBLEMS
) -> RuleView:
    if rule is None:
        raise _unknown(rule_id)
    return _view(tenant_id, rule, problems)


def _unknown(rule_id: str) -> NotFoundError:
    return NotFoundError(f"no rule {rule_id[:64]!r}")
