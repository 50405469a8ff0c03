"""What can be checked of a message before anything starts. Each raises ``InvalidRequestError``."""

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
"""How long a message may wait where nobody says otherwise."""
_PAST_TOLERANCE: Final = timedelta(minutes=1)
_HORIZON: Final = timedelta(days=366)


def recipient(to: str, region: str) -> str:
    """Who a message goes to, in one spelling; ``region`` is that of numbers without a country code."""
    try:
        return normalise(to, region)
    except InvalidRecipientError as error:
        raise InvalidRequestError.of("to", str(error)) from None


def content(message_type: MessageType, said: dict[str, Any]) -> None:
    """The content has the form of its type."""
    try:
        parse_content(message_type, said)
    except ValidationError as error:
        raise InvalidRequestError.from_pydantic(error.errors(), ("content",)) from None


def times(scheduled_for: datetime | None, expires_at: datetime | None, at: datetime) -> None:
    """A schedule and a validity fit each other and the clock."""
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
    """The customer service window is open, as the asker knows it (``None``: knows all): what a contact
    wrote to another tenant on a shared number opens none here, or the answer would tell of it.
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
    """It is no marketing to a contact who opted out, as far as it is known to be marketing."""
    if opt_outs.refuses(session, tenant_id, contact_key(to), template):
        raise InvalidRequestError.of(
            "to",
            "the contact opted out of marketing messages, and the template is marketing: do not "
            "send it until they come back (VOLTAR)",
            code=rule_for(131050).code,
        )
