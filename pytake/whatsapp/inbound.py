"""Meta's callback: signature and parsing.

The parser never fails on a batch: what it cannot read is set aside with the reason, the rest is
used. Unknown fields are kept, never an error.
"""

import hashlib
import hmac
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from pytake.domain.errors import ErrorRule, rule_for
from pytake.domain.recipients import contact_key, is_user_id
from pytake.domain.status import META_STATUSES, Observation

MAX_BYTES: Final = 3 * 1024 * 1024
"""The largest request that Meta sends."""


class MalformedError(ValueError):
    """A part of the callback is not what Meta documents."""


@dataclass(frozen=True, slots=True)
class StatusUpdate:
    """One entry of ``statuses``."""

    phone_number_id: str
    wamid: str
    observation: Observation
    at: datetime
    recipient: str | None
    opaque: str | None
    pricing_category: str | None
    pricing_type: str | None
    billable: bool | None
    error: ErrorRule | None
    error_detail: str


@dataclass(frozen=True, slots=True)
class UserMessage:
    """One entry of ``messages``, as Meta sent it in ``payload``."""

    phone_number_id: str
    wamid: str
    contact_key: str
    wa_id: str | None
    user_id: str | None
    name: str | None
    type: str
    at: datetime
    payload: dict[str, Any]


@dataclass(frozen=True, slots=True)
class OtherUpdate:
    """A field PyTake does not act on, or (with ``problem``) something it could not read."""

    phone_number_id: str | None
    field: str
    payload: Any
    problem: str | None = None


@dataclass(slots=True)
class Callback:
    """Everything one request brought."""

    statuses: list[StatusUpdate] = field(default_factory=list)
    messages: list[UserMessage] = field(default_factory=list)
    others: list[OtherUpdate] = field(default_factory=list)


def signature_matches(app_secret: str, body: bytes, header: str | None) -> bool:
    """Check ``X-Hub-Signature-256`` over the raw bytes, in constant time."""
    expected = hmac.new(app_secret.encode(), body, hashlib.sha256).hexdigest()
    given = (header or "").removeprefix("sha256=")
    return hmac.compare_digest(expected.encode(), given.encode("utf-8", "replace"))


def parse(body: Any) -> Callback:
    """Read the JSON of one request; parts that are malformed become ``others`` with a problem."""
    callback = Callback()
    if not isinstance(body, dict) or not isinstance(body.get("entry"), list):
        callback.others.append(OtherUpdate(None, "envelope", body, "entry is not a list"))
        return callback
    for entry in body["entry"]:
        changes = entry.get("changes") if isinstance(entry, dict) else None
        if not isinstance(changes, list):
            callback.others.append(OtherUpdate(None, "entry", entry, "changes is not a list"))
            continue
        for change in changes:
            if isinstance(change, dict) and isinstance(change.get("value"), dict):
                _read_change(callback, str(change.get("field")), change["value"])
            else:
                problem = "value is not an object"
                callback.others.append(OtherUpdate(None, "change", change, problem))
    return callback


def _read_change(callback: Callback, name: str, value: dict[str, Any]) -> None:
    metadata = value.get("metadata")
    number = metadata.get("phone_number_id") if isinstance(metadata, dict) else None
    number = number if isinstance(number, str) and 0 < len(number) <= 64 else None
    if name != "messages":
        callback.others.append(OtherUpdate(number, name, value))
        return
    names = dict(_contact_names(value.get("contacts")))
    known = False
    for item in _items(value, "statuses"):
        known = True
        try:
            callback.statuses.append(_status(number, item))
        except MalformedError as error:
            callback.others.append(OtherUpdate(number, "statuses", item, str(error)))
    for item in _items(value, "messages"):
        known = True
        try:
            callback.messages.append(_message(number, item, names))
        except MalformedError as error:
            callback.others.append(OtherUpdate(number, "messages", item, str(error)))
    if not known or value.get("errors"):
        callback.others.append(OtherUpdate(number, name, value))


def _items(value: dict[str, Any], name: str) -> list[Any]:
    items = value.get(name, [])
    return items if isinstance(items, list) else [items]


def _status(number: str | None, item: Any) -> StatusUpdate:
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
    return StatusUpdate(
        phone_number_id=number,
        wamid=_text(item, "id", 512),
        observation=observation,
        at=_time(item),
        recipient=_optional(item, "recipient_id") or _optional(item, "recipient_user_id"),
        opaque=_optional(item, "biz_opaque_callback_data"),
        pricing_category=_optional(pricing, "category"),
        pricing_type=_optional(pricing, "type") or _optional(pricing, "pricing_model"),
        billable=billable if isinstance(billable, bool) else None,
        error=rule,
        error_detail=detail,
    )


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


def _message(number: str | None, item: Any, names: dict[str, str]) -> UserMessage:
    number = _require_number(number)
    item = _object(item)
    sender = _optional(item, "from")
    user_id = _optional(item, "from_user_id")
    if sender is None and user_id is None:
        raise MalformedError("neither from nor from_user_id is there")
    address = (sender or user_id or "").lstrip("+")
    return UserMessage(
        phone_number_id=number,
        wamid=_text(item, "id", 512),
        contact_key=contact_key(address),
        wa_id=address if sender and not is_user_id(address) else None,
        user_id=user_id,
        name=names.get(address) or (names.get(user_id) if user_id else None),
        type=_text(item, "type", 40),
        at=_time(item),
        payload=item,
    )


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
        raise MalformedError("metadata.phone_number_id is missing")
    return number


def _object(item: Any) -> dict[str, Any]:
    if not isinstance(item, dict):
        raise MalformedError("not an object")
    return item


def _text(item: dict[str, Any], name: str, maximum: int) -> str:
    value = item.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= maximum:
        raise MalformedError(f"{name} is not a text of 1 to {maximum} characters")
    if "\0" in value:
        raise MalformedError(f"{name} contains a null character")
    return value


def _optional(item: dict[str, Any], name: str) -> str | None:
    value = item.get(name)
    return value if isinstance(value, str) and 0 < len(value) <= 512 and "\0" not in value else None


def _time(item: dict[str, Any]) -> datetime:
    try:
        return datetime.fromtimestamp(int(item["timestamp"]), UTC)
    except (KeyError, TypeError, ValueError, OverflowError, OSError):
        raise MalformedError("timestamp is not in unix seconds") from None
