"""Meta's callback: signature and parsing.

The parser never fails on a batch: parts it cannot read are kept with the reason, the rest is used.
Unknown fields are kept, never an error.
"""

import hashlib
import hmac
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Literal

from pytake.contacts.identities import contact_key, is_phone_number_id, is_user_id
from pytake.conversations.inbound import Inbound
from pytake.conversations.rules.said import in_group
from pytake.messages.status import META_STATUSES, Observation, Receipt
from pytake.whatsapp.errors import ErrorRule, rule_for

CALLBACK_PATH: Final = "/api/v1/whatsapp/webhook"
"""Where Meta sends its callback; the address is configured in Meta's app dashboard."""
MAX_BYTES: Final = 3 * 1024 * 1024
"""The largest request that Meta sends."""


_REPLACED: Final = "\ufffd"
"""What stands for characters that cannot be stored (``pytake.callback.body``): two ids with it may be equal."""
_CONTACT: Final = 128
"""Most characters of a contact's id that the schema holds. A business-scoped user id has up to 131."""
_MESSAGE_ID: Final = 80
"""Most characters of a message id that the API accepts."""
_EARLIEST: Final = datetime(2009, 1, 1, tzinfo=UTC)
"""No timestamp is earlier: WhatsApp was founded in 2009."""
_NOTES: Final = ("deleted", "warning")
"""Statuses of a message that are not about its delivery."""
_PAYMENTS: Final = ("captured", "pending")
"""Statuses of a payment requested in a message, as are all those with ``type`` ``payment``."""


class MalformedError(ValueError):
    """A part of the callback is not as Meta documents."""


@dataclass(frozen=True, slots=True)
class Origin:
    """The entry and change that a part came in; tells equal values apart."""

    account: str | None = None
    """The WhatsApp Business account (``entry.id``)."""
    time: str | None = None
    """``entry.time`` as Meta wrote it; the same in a repeated request."""
    sent_at: datetime | None = None
    """``time`` parsed, if valid."""
    field: str = ""


@dataclass(frozen=True, slots=True)
class StatusPart:
    """One entry of ``statuses``, as Meta sent it in ``payload``."""

    origin: Origin
    receipt: Receipt
    payload: dict[str, Any]


@dataclass(frozen=True, slots=True)
class MessagePart:
    """One entry of ``messages``."""

    origin: Origin
    inbound: Inbound


@dataclass(frozen=True, slots=True)
class Update:
    """Any other field, a status not about delivery, or (with ``problem``) a part that could not be read."""

    origin: Origin
    phone_number_id: str | None
    field: str
    payload: Any
    problem: str | None = None

    @property
    def id(self) -> str:
        """Hash that identifies the update; the same in a repeated request."""
        origin = self.origin
        whole = [origin.account, origin.time, self.phone_number_id, self.field, self.payload]
        return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()

    def key(self, at: datetime) -> str:
        """Key of the update's events. Without Meta's time, equal updates within an hour count as one."""
        return self.id if self.origin.time is not None else f"{self.id}:{at:%Y-%m-%dT%H}"


@dataclass(slots=True)
class Callback:
    """The parts of one request."""

    statuses: list[StatusPart] = field(default_factory=list)
    messages: list[MessagePart] = field(default_factory=list)
    others: list[Update] = field(default_factory=list)

    @property
    def receipts(self) -> list[Receipt]:
        """The receipts of all statuses."""
        return [part.receipt for part in self.statuses]

    @property
    def inbound(self) -> list[Inbound]:
        """The inbound messages."""
        return [part.inbound for part in self.messages]


def signature_matches(app_secret: str, body: bytes, header: str | None) -> bool:
    """Check ``X-Hub-Signature-256`` (``sha256=`` and the digest) over the raw bytes, in constant time."""
    expected = "sha256=" + hmac.new(app_secret.encode(), body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected.encode(), (header or "").encode("utf-8", "replace"))


def parse(body: Any, now: datetime) -> Callback:
    """Parse the cleaned body of one request; malformed parts become ``others`` with a problem.

    Timestamps later than ``now`` are replaced by it.
    """
    callback = Callback()
    if not isinstance(body, dict) or not isinstance(body.get("entry"), list):
        problem = "entry is not a list"
        callback.others.append(Update(Origin(), None, "envelope", body, problem))
        return callback
    for entry in body["entry"]:
        changes = entry.get("changes") if isinstance(entry, dict) else None
        if not isinstance(changes, list):
            problem = "changes is not a list"
            callback.others.append(Update(_origin(entry), None, "entry", entry, problem))
            continue
        for change in changes:
            if isinstance(change, dict) and isinstance(change.get("value"), dict):
                _read_change(callback, _origin(entry, change), change["value"], now)
            else:
                problem = "value is not an object"
                callback.others.append(Update(_origin(entry), None, "change", change, problem))
    return callback


def _origin(entry: Any, change: dict[str, Any] | None = None) -> Origin:
    entry = entry if isinstance(entry, dict) else {}
    account, time = _scalar(entry.get("id")), _scalar(entry.get("time"))
    return Origin(
        account=account,
        time=time,
        sent_at=entry_time(time),
        field=str(change.get("field")) if change else "",
    )


def _scalar(value: Any) -> str | None:
    known = isinstance(value, str | int) and not isinstance(value, bool)
    return str(value)[:64] if known and value != "" else None


def entry_time(text: str | None) -> datetime | None:
    """Parse ``entry.time``: seconds or, for some products, milliseconds."""
    try:
        seconds = int(text or "")
        at = datetime.fromtimestamp(seconds / 1000 if seconds > 10**11 else seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return at if at >= _EARLIEST else None


def _read_change(callback: Callback, origin: Origin, value: dict[str, Any], now: datetime) -> None:
    metadata = value.get("metadata")
    given = metadata.get("phone_number_id") if isinstance(metadata, dict) else None
    number = given if isinstance(given, str) and is_phone_number_id(given) else None
    if origin.field != "messages":
        callback.others.append(Update(origin, number, origin.field, value))
        return
    names = dict(_contact_names(value.get("contacts")))
    known = False
    for item in _items(value, "statuses"):
        known = True
        try:
            if note := _note(item):
                callback.others.append(Update(origin, number, note, item))
            else:
                callback.statuses.append(_status(origin, number, item, now))
        except MalformedError as error:
            callback.others.append(Update(origin, number, "statuses", item, str(error)))
    for item in _items(value, "messages"):
        known = True
        try:
            callback.messages.append(_message(origin, number, item, names, now))
        except MalformedError as error:
            callback.others.append(Update(origin, number, "messages", item, str(error)))
    if not known or value.get("errors"):
        callback.others.append(Update(origin, number, origin.field, value))


def _note(item: Any) -> Literal["message_status", "payment_status"] | None:
    """The kind of a status that is not about a message's delivery; ``None`` if it may be."""
    if not isinstance(item, dict):
        return None
    if item.get("type") == "payment" or item.get("status") in _PAYMENTS:
        return "payment_status"
    return "message_status" if item.get("status") in _NOTES else None


def _items(value: dict[str, Any], name: str) -> list[Any]:
    items = value.get(name, [])
    return items if isinstance(items, list) else [items]


def _status(origin: Origin, number: str | None, item: Any, now: datetime) -> StatusPart:
    number = _require_number(number)
    item = _object(item)
    name = item.get("status")
    observation = META_STATUSES.get(name) if isinstance(name, str) else None
    if observation is None:
        raise MalformedError("status is not one of sent, delivered, read, played, failed")
    pricing = item.get("pricing")
    pricing = pricing if isinstance(pricing, dict) else {}
    billable = pricing.get("billable")
    rule, detail = (
        _status_error(item.get("errors")) if observation is Observation.FAILED else (None, "")
    )
    at = _time(item)
    receipt = Receipt(
        wamid=_text(item, "id", 512),
        observation=observation,
        at=at if _EARLIEST <= at <= now else now,  # the earliest time of a status is the one kept
        phone_number_id=number,
        message_id=_message_id(_optional(item, "biz_opaque_callback_data")),
        recipient=_optional(item, "recipient_id") or _optional(item, "recipient_user_id"),
        pricing_category=_optional(pricing, "category"),
        pricing_type=_optional(pricing, "type") or _optional(pricing, "pricing_model"),
        billable=billable if isinstance(billable, bool) else None,
        error=rule,
        error_detail=detail,
    )
    return StatusPart(origin, receipt, item)


def _message_id(opaque: str | None) -> str | None:
    """Our message id; ``None`` if the message was sent by another system that shares the number."""
    ours = opaque is not None and opaque.startswith("msg_") and len(opaque) <= _MESSAGE_ID
    return opaque if ours else None


def _status_error(errors: Any) -> tuple[ErrorRule, str]:
    first = errors[0] if isinstance(errors, list) and errors else None
    first = first if isinstance(first, dict) else {}
    code = first.get("code")
    subcode, transient = first.get("error_subcode"), first.get("is_transient")
    rule = rule_for(
        code if isinstance(code, int) and abs(code) < 2**31 else -1,
        subcode=subcode if isinstance(subcode, int) else None,
        is_transient=transient if isinstance(transient, bool) else None,
    )
    data = first.get("error_data")
    detail = data.get("details") if isinstance(data, dict) else None
    return rule, str(detail or first.get("message") or first.get("title") or "")[:500]


def _message(
    origin: Origin, number: str | None, item: Any, names: dict[str, str], now: datetime
) -> MessagePart:
    number = _require_number(number)
    item = _object(item)
    sender = _optional(item, "from")
    user_id = _optional(item, "from_user_id")
    if sender is None and user_id is None:
        raise MalformedError("neither from nor from_user_id is there")
    address = (sender or user_id or "").lstrip("+")
    if not 0 < len(address) <= _CONTACT:
        raise MalformedError(f"from is not an id of 1 to {_CONTACT} characters")
    inbound = Inbound(
        wamid=_text(item, "id", 512),
        phone_number_id=number,
        contact_key=contact_key(address),
        wa_id=address if sender and not is_user_id(address) else None,
        user_id=user_id,
        name=names.get(address) or (names.get(user_id) if user_id else None),
        type=_text(item, "type", 40),
        payload=item,
        at=max(_EARLIEST, min(_time(item), now)),
        group_id=_group(item),
    )
    return MessagePart(origin, inbound)


def _group(item: dict[str, Any]) -> str | None:
    return str(item["group_id"])[:_CONTACT] if in_group(item) else None


def _contact_names(contacts: Any) -> Iterator[tuple[str, str]]:
    for contact in contacts if isinstance(contacts, list) else []:
        profile = contact.get("profile") if isinstance(contact, dict) else None
        name = profile.get("name") if isinstance(profile, dict) else None
        if isinstance(name, str):
            for key in ("wa_id", "user_id"):
                if isinstance(contact.get(key), str):
                    yield contact[key], name[:200]


def _require_number(number: str | None) -> str:
    if number is None:
        raise MalformedError("metadata.phone_number_id is missing, or not 1 to 32 digits")
    return number


def _object(item: Any) -> dict[str, Any]:
    if not isinstance(item, dict):
        raise MalformedError("not an object")
    return item


def _text(item: dict[str, Any], name: str, maximum: int) -> str:
    value = item.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= maximum:
        raise MalformedError(f"{name} is not a text of 1 to {maximum} characters")
    if _REPLACED in value:
        raise MalformedError(f"{name} contains a character that cannot be stored")
    return value


def _optional(item: dict[str, Any], name: str) -> str | None:
    value = item.get(name)
    fits = isinstance(value, str) and 0 < len(value) <= 512 and _REPLACED not in value
    return value if fits else None


def _time(item: dict[str, Any]) -> datetime:
    try:
        return datetime.fromtimestamp(int(item["timestamp"]), UTC)
    except (KeyError, TypeError, ValueError, OverflowError, OSError):
        raise MalformedError("timestamp is not in unix seconds") from None
