"""Contacts as the auto-responder sees them: state, reset, hand-over."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Body, Depends
from sqlmodel import Session

from api.conversations.schemas import (
    ContactView,
    HandoverBody,
    HandoverState,
    MenuState,
    OptOutState,
    RuleUse,
    WindowState,
)
from api.dependencies import DatabaseDep, DispatcherDep, NumbersDep, PrincipalDep, SettingsDep
from api.errors import documented
from api.fields import NumberQuery, TenantQuery
from pytake.clock import now
from pytake.contacts import opt_outs
from pytake.contacts.identities import InvalidRecipientError, contact_key, normalise
from pytake.contacts.tables import Contact
from pytake.conversations import state as conversation_state
from pytake.conversations.party import Party
from pytake.conversations.tables import Conversation
from pytake.database.engine import Database
from pytake.problems import ForbiddenError, InvalidRequestError, UnauthorizedError, UnavailableError
from pytake.settings import ConversationSettings
from pytake.webhooks.contracts import DeliveryInput
from pytake.whatsapp.limits import CUSTOMER_SERVICE_WINDOW, window_open

router = APIRouter(prefix="/api/v1/auto-responder/contacts", tags=["auto-responder"])

_COMMON = documented(UnauthorizedError, ForbiddenError, InvalidRequestError, UnavailableError)

Change = Callable[[Session, Conversation, datetime], list[DeliveryInput]]


async def party_of(
    contact: str,
    numbers: NumbersDep,
    settings: SettingsDep,
    principal: PrincipalDep,
    phone_number_id: NumberQuery = None,
    tenant_id: TenantQuery = None,
) -> Party:
    """The contact of a path, in its conversation with one of the tenant's numbers.

    Raises:
        ForbiddenError: the request names a tenant other than the key's.
        InvalidRequestError: the contact is not valid, or the tenant may not use the number.
    """
    tenant = principal.acting_for(tenant_id)
    try:
        key = contact_key(normalise(contact[:128], settings.messages.default_region))
    except InvalidRecipientError as error:
        raise InvalidRequestError.of("contact", str(error)) from None
    number = (await numbers.sender(principal, tenant, phone_number_id)).phone_number_id
    return Party(tenant, number, key)


PartyDep = Annotated[Party, Depends(party_of)]


@router.get("/{contact}", responses=_COMMON)
async def get_contact(party: PartyDep, database: DatabaseDep, settings: SettingsDep) -> ContactView:
    """The state of the conversation with a contact (a phone number); blank for one who never wrote."""
    return await _load(database, settings.conversations, party)


@router.post("/{contact}/reset", responses=_COMMON)
async def reset(
    party: PartyDep, database: DatabaseDep, dispatcher: DispatcherDep, settings: SettingsDep
) -> ContactView:
    """Reset a contact: clears uses, menu, tags, hand-over and silence; an opt-out stays."""
    dispatcher.soon(await _change(database, party, conversation_state.reset))
    return await _load(database, settings.conversations, party)


@router.post("/{contact}/handover", responses=_COMMON)
async def handover(
    party: PartyDep,
    database: DatabaseDep,
    dispatcher: DispatcherDep,
    settings: SettingsDep,
    body: Annotated[HandoverBody | None, Body()] = None,
) -> ContactView:
    """Hand the conversation over to a person: the bot is silent until it is resumed or times out."""
    department = body.department if body else None
    raised = await _change(
        database,
        party,
        lambda session, row, at: conversation_state.hand_over(session, row, at, "api", department),
    )
    dispatcher.soon(raised)
    return await _load(database, settings.conversations, party)


@router.post("/{contact}/resume", responses=_COMMON)
async def resume(
    party: PartyDep, database: DatabaseDep, dispatcher: DispatcherDep, settings: SettingsDep
) -> ContactView:
    """Give the conversation back to the bot."""
    raised = await _change(
        database,
        party,
        lambda session, row, at: conversation_state.end_handover(session, row, at, "resumed"),
    )
    dispatcher.soon(raised)
    return await _load(database, settings.conversations, party)


async def _change(database: Database, party: Party, change: Change) -> list[DeliveryInput]:
    def apply(session: Session) -> list[DeliveryInput]:
        return change(session, conversation_state.lock(session, party), now())

    return await database.write(apply)


async def _load(database: Database, settings: ConversationSettings, party: Party) -> ContactView:
    silence = timedelta(seconds=settings.handover_silence_seconds)
    return await database.read(_view, party, now(), silence)


def _view(session: Session, party: Party, at: datetime, silence: timedelta) -> ContactView:
    contact = session.get(Contact, (party.phone_number_id, party.contact_key))
    if contact is not None and contact.tenant_id != party.tenant_id:
        contact = None
    row = conversation_state.find(session, party)
    if row is None:
        row = Conversation(
            phone_number_id=party.phone_number_id,
            contact_key=party.contact_key,
            tenant_id=party.tenant_id,
            tags=[],
        )
    opted = opt_outs.get(session, party.tenant_id, party.contact_key)
    menu = conversation_state.standing_of(row).shown(at)
    last = contact.last_inbound_at if contact else None
    until = last + CUSTOMER_SERVICE_WINDOW if last else None
    return ContactView(
        contact=party.contact_key,
        tenant_id=party.tenant_id,
        phone_number_id=party.phone_number_id,
        name=contact.name if contact else None,
        first_inbound_at=contact.first_inbound_at if contact else None,
        last_inbound_at=last,
        window=WindowState(open=window_open(last, at), until=until),
        opt_out=OptOutState(opted_out=True, since=opted.at, source=opted.source)
        if opted
        else OptOutState(opted_out=False),
        handover=_handover(row, at, silence),
        silent_until=row.muted_until if row.muted_until and row.muted_until > at else None,
        menu=MenuState(rule_id=menu.rule_id, path=list(menu.path)) if menu else None,
        tags=row.tags,
        uses=[
            RuleUse(rule_id=rule_id, count=used.count, last_at=used.last_at)
            for rule_id, used in sorted(
                conversation_state.uses_of(session, party, row.uses_since).items()
            )
        ],
    )


def _handover(row: Conversation, at: datetime, silence: timedelta) -> HandoverState:
    if row.handover_at is None:
        return HandoverState(active=False)
    ends_at = (row.handover_active_at or row.handover_at) + silence
    if ends_at <= at:
        return HandoverState(active=False)
    return HandoverState(
        active=True,
        since=row.handover_at,
        by=row.handover_by,
        department=row.department,
        ends_at=ends_at,
    )
