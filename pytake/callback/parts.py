"""Splitting a callback request into its parts, and joining them again."""

from typing import Any

from pytake.callback.parse import Callback, MessagePart, StatusPart, Update

Part = StatusPart | MessagePart | Update

_IN_MESSAGES = {
    "statuses": "statuses",
    "message_status": "statuses",
    "payment_status": "statuses",
    "messages": "messages",
}
"""Kinds of parts that come in a list within the field ``messages``, with the name of the list."""


def split(callback: Callback) -> list[Part]:
    """The parts of a request, in the order in which they are stored."""
    return [*callback.statuses, *callback.messages, *callback.others]


def join(parts: list[Part]) -> Callback:
    """A request made of these parts."""
    return Callback(
        [part for part in parts if isinstance(part, StatusPart)],
        [part for part in parts if isinstance(part, MessagePart)],
        [part for part in parts if isinstance(part, Update)],
    )


def kind_of(part: Part) -> str:
    """``statuses``, ``messages``, or the name of another update."""
    if isinstance(part, Update):
        return part.field
    return "statuses" if isinstance(part, StatusPart) else "messages"


def number_of(part: Part) -> str | None:
    """The phone number id of a part, if it has one."""
    if isinstance(part, StatusPart):
        return part.receipt.phone_number_id
    return part.inbound.phone_number_id if isinstance(part, MessagePart) else part.phone_number_id


def envelope(part: Part) -> dict[str, Any]:
    """A request body with only this part; parsing it yields the same part."""
    kind = kind_of(part)
    name = _IN_MESSAGES.get(kind)
    payload = part.inbound.payload if isinstance(part, MessagePart) else part.payload
    field, value = part.origin.field or kind, payload
    if name is not None and not _whole(part):
        value = {"metadata": {"phone_number_id": number_of(part)}, name: [payload]}
        if isinstance(part, MessagePart) and part.inbound.name is not None:
            inbound = part.inbound
            who = {"wa_id": inbound.wa_id} if inbound.wa_id else {"user_id": inbound.user_id}
            value["contacts"] = [{**who, "profile": {"name": inbound.name}}]
    entry = {"id": part.origin.account, "changes": [{"field": field, "value": value}]}
    if part.origin.time is not None:
        entry["time"] = part.origin.time
    return {"object": "whatsapp_business_account", "entry": [entry]}


def _whole(part: Part) -> bool:
    """Whether an update is the whole value of its change, rather than an item of a list in it."""
    return isinstance(part, Update) and part.field == "messages" and part.problem is None
