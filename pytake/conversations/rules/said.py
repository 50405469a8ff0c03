"""What a contact said: the part of an inbound message that rules look at."""

from dataclasses import dataclass
from typing import Any, Final

MEDIA: Final = ("image", "video", "audio", "document", "sticker", "location", "contacts")
"""Message types that the Media trigger knows."""

_UNANSWERED: Final = {
    "reaction": "a reaction",
    "system": "a system message",
    "unsupported": "a message WhatsApp does not hand over",
    "unknown": "a message WhatsApp does not hand over",
    "ephemeral": "a message WhatsApp does not hand over",
    "errors": "an error of WhatsApp's",
}


@dataclass(frozen=True, slots=True)
class Said:
    """One inbound message; ``reply_id`` is set for a tapped button or list row."""

    text: str = ""
    reply_id: str | None = None
    reply_kind: str | None = None
    """``button`` or ``list``."""
    media: str | None = None


def in_group(payload: dict[str, Any]) -> bool:
    """Whether a message was written in a group (Meta's ``group_id``): it was said to all of them, so it
    opens nobody's customer service window, is answered to nobody and opts nobody out.
    """
    return payload.get("group_id") not in (None, "")


def unanswerable(kind: str, payload: dict[str, Any]) -> str | None:
    """Why a message of this type never gets an answer; ``None`` if it may."""
    if in_group(payload):
        return "a message in a group"
    if payload.get("errors"):
        return _UNANSWERED["errors"]
    return _UNANSWERED.get(kind)


def read_said(kind: str, payload: dict[str, Any]) -> Said:
    """What a message says, from the payload as Meta sent it; never fails."""
    part = payload.get(kind)
    part = part if isinstance(part, dict) else {}
    if kind == "text":
        return Said(_text(part.get("body")))
    if kind == "button":
        text = _text(part.get("text"))
        return Said(text, _text(part.get("payload")) or text or None, "button")
    if kind == "interactive":
        for name, reply_kind in (("button_reply", "button"), ("list_reply", "list")):
            reply = part.get(name)
            if isinstance(reply, dict):
                return Said(_text(reply.get("title")), _text(reply.get("id")) or None, reply_kind)
        return Said()
    media = kind if kind in MEDIA else None
    return Said(_text(part.get("caption")), media=media)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
