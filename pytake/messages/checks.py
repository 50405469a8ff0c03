"""Checks of a message before its workflow starts. Each raises ``InvalidRequestError``."""

from datetime import datetime, timedelta
from typing import Any, Final

from pydantic import ValidationError
from sqlmodel import Session

from pytake.contacts import opt_outs, windows
from pytake.contacts.identities import InvalidRecipientError, contact_key, normalise
from pytake.messages.content import MessageType, parse_content
from pytake.problems import InvalidRequestError
from pytake.whatsapp.errors import rule_for
from pytake.whatsapp.limits import window_open

VALIDITY: Final = timedelta(hours=24)
"""How long a message may wait by default."""
_PAST_TOLERANCE: Final = timedelta(minutes=1)
_HORIZON: Final = timedelta(days=366)


def recipient(to: str, region: str) -> str:
    """The normalised recipient; ``region`` applies to numbers without a country code."""
    try:
        return normalise(to, region)
    except InvalidRecipientError as error:
        raise InvalidRequestError.of("to", str(error)) from None


def content(message_type: MessageType, body: dict[str, Any]) -> None:
    """The content is valid for its type."""
    try:
        parse_content(message_type, body)
    except ValidationError as error:
        raise InvalidRequestError.from_pydantic(error.errors(), ("content",)) from None


def times(scheduled_for: datetime | None, expires_at: datetime | None, at: datetime) -> None:
    """``scheduled_for`` and ``expires_at`` are in order, not in the past and not too far ahead."""
    if scheduled_for is not None and scheduled_for < at - _PAST_TOLERANCE:
        raise InvalidRequestError.of("scheduled_for", "is in the past: leave it out to send now")
    if scheduled_for is not None and scheduled_for > at + _HORIZON:
        raise InvalidRequestError.of("scheduled_for", "is more than a year ahead")
    if expires_at is not None and expires_at <= max(at, scheduled_for or at):
        raise InvalidRequestError.of("expires_at", "must be after now and after scheduled_for")
    if expires_at is not None and expires_at > at + 2 * _HORIZON:
        raise InvalidRequestError.of("expires_at", "is more than two years ahead")


def window(
    session: Session, phone_number_id: str, to: str, tenant_id: str | None, at: datetime
) -> None:
    """The customer service window is open for the tenant (``None``: for any tenant). On a shared number,
    messages to another tenant do not count: the response would reveal them.
    """
    last = windows.last_inbound_at(session, phone_number_id, contact_key(to), tenant_id)
    if not window_open(last, at):
        raise InvalidRequestError.of(
            "message_type",
            "the customer service window is closed (the recipient has not written to this tenant in the "
            'last 24 hours): send a template, or set "check_window": false to try anyway',
            code=rule_for(131047).code,
        )


def opt_out(session: Session, tenant_id: str, to: str, template: str) -> None:
    """The template is not known to be marketing, or the contact has not opted out."""
    if opt_outs.refuses(session, tenant_id, contact_key(to), template):
        raise InvalidRequestError.of(
            "to",
            "the contact opted out of marketing messages, and the template is marketing: do not "
            "send it until they come back (VOLTAR)",
            code=rule_for(131050).code,
        )
