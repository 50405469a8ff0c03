"""Effects of other callback updates: marketing preferences, and hand-overs to people who answered."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlmodel import Session

from pytake.callback.owners import Owners
from pytake.callback.parse import Update
from pytake.contacts import opt_outs
from pytake.contacts.identities import contact_key
from pytake.conversations import state as conversation_state
from pytake.conversations.party import Party
from pytake.conversations.rules.said import in_group
from pytake.settings import ConversationSettings
from pytake.webhooks.contracts import DeliveryInput


def apply_updates(
    session: Session,
    updates: Iterable[Update],
    owners: Owners,
    settings: ConversationSettings,
    at: datetime,
) -> list[DeliveryInput]:
    """Record opt-outs made in WhatsApp, and hand conversations over to people who answered."""
    raised: list[DeliveryInput] = []
    for update in updates:
        number, tenant_id = update.phone_number_id, owners.of_number(update.phone_number_id)
        if number is None or tenant_id is None or update.problem is not None:
            continue
        if update.field == "user_preferences":
            raised += _preferences(session, update, number, tenant_id, at)
        elif update.field == "smb_message_echoes":
            silence = timedelta(seconds=settings.handover_silence_seconds)
            raised += _echoes(session, update, number, tenant_id, silence, at)
    return raised


def _preferences(
    session: Session, update: Update, number: str, tenant_id: str, at: datetime
) -> Iterator[DeliveryInput]:
    """Opt-outs and opt-ins from marketing messages, made in WhatsApp."""
    for item in _items(update, "user_preferences"):
        contact, value = item.get("wa_id") or item.get("user_id"), item.get("value")
        if (
            not isinstance(contact, str)
            or item.get("category", "marketing_messages") != "marketing_messages"
        ):
            continue
        key, detail = contact_key(contact.lstrip("+"))[:128], str(item.get("detail") or "")[:200]
        if value == "stop":
            yield from (
                opt_outs.opt_out(
                    session,
                    tenant_id,
                    key,
                    at,
                    phone_number_id=number,
                    source="whatsapp",
                    detail=detail,
                )
                or ()
            )
        elif value == "resume":
            yield from (
                opt_outs.opt_in(session, tenant_id, key, at, phone_number_id=number, detail=detail)
                or ()
            )


def _echoes(
    session: Session,
    update: Update,
    number: str,
    tenant_id: str,
    silence: timedelta,
    at: datetime,
) -> Iterator[DeliveryInput]:
    """A person answered from the WhatsApp Business app: hand the conversation over."""
    for item in _items(update, "message_echoes"):
        contact = item.get("to") or item.get("to_user_id")
        if not isinstance(contact, str) or in_group(item) or at - _time(item, at) > silence:
            continue
        party = Party(tenant_id, number, contact_key(contact.lstrip("+"))[:128])
        conversation = conversation_state.lock(session, party)
        yield from conversation_state.hand_over(session, conversation, at, "phone")


def _items(update: Update, name: str) -> list[dict[str, Any]]:
    items = update.payload.get(name) if isinstance(update.payload, dict) else None
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def _time(item: dict[str, Any], at: datetime) -> datetime:
    try:
        return datetime.fromtimestamp(int(item["timestamp"]), UTC)
    except (KeyError, TypeError, ValueError, OverflowError, OSError):
        return at
