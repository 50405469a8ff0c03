"""The parts of a request of Meta's callback, one by one."""

from typing import Any

from pytake.callback.parse import Callback, OtherUpdate, StatusUpdate, UserMessage

Part = StatusUpdate | UserMessage | OtherUpdate

_IN_MESSAGES = {
    "statuses": "statuses",
    "message_status": "statuses",
    "payment_status": "statuses",
    "messages": "messages",
}
"""Names of other updates that came in a list of the field ``messages``, and in which."""


def split(callback: Callback) -> list[Part]:
    """Its parts, in the order in which they are stored."""
    return [*callback.statuses, *callback.messages, *callback.others]


def join(parts: list[Part]) -> Callback:
    """Parts as one request again."""
    return Callback(
        [part for part in parts if isinstance(part, StatusUpdate)],
        [part for part in parts if isinstance(part, UserMessage)],
        [part for part in parts if isinstance(part, OtherUpdate)],
    )


def kind_of(part: Part) -> str:
    """``statuses``, ``messages``, or the name of another update."""
    if isinstance(part, OtherUpdate):
        return part.field
    return "statuses" if isinstance(part, StatusUpdate) else "messages"


def envelope(part: Part) -> dict[str, Any]:
    """A request that brings this part alone: read again, it is the same part."""
    kind = kind_of(part)
    name = _IN_MESSAGES.get(kind)
    field, value = part.origin.field or kind, part.payload
    if name is not None and not _whole(part):
        value = {"metadata": {"phone_number_id": part.phone_number_id}, name: [part.payload]}
        if isinstance(part, UserMessage) and part.name is not None:
            who = {"wa_id": part.wa_id} if part.wa_id else {"user_id": part.user_id}
            value["contacts"] = [{**who, "profile": {"name": part.name}}]
    entry = {"id": part.origin.account, "changes": [{"field": field, "value": value}]}
    if part.origin.time is not None:
        entry["time"] = part.origin.time
    return {"object": "whatsapp_business_account", "entry": [entry]}


def _whole(part: Part) -> bool:
    """Whether an update is the value of its change, not an item of a list in it."""
    return isinstance(part, OtherUpdate) and part.field == "messages" and part.problem is None
