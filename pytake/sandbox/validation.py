"""Meta's checks of a message body, written from its reference and independent of PyTake's models, so
that a mistake in those is not repeated here.
"""

import re
from collections.abc import Container
from typing import Any, Final

_MEDIA: Final = ("image", "video", "audio", "document", "sticker")
_TYPES: Final = ("text", "template", "interactive", "location", "contacts", "reaction", *_MEDIA)


class GraphError(Exception):
    """A Graph API error."""

    def __init__(
        self,
        code: int,
        message: str,
        details: str = "",
        http_status: int | None = None,
        *,
        subcode: int | None = None,
        is_transient: bool | None = None,
    ) -> None:
        self.code = code
        self.message = message
        self.details = details
        self.subcode = subcode
        self.is_transient = is_transient
        self.http_status = http_status or HTTP_STATUS.get(code, 400)
        super().__init__(message)

    def body(self, trace: str) -> dict[str, Any]:
        """The JSON of the response."""
        error: dict[str, Any] = {
            "message": f"(#{self.code}) {self.message}",
            "type": "OAuthException",
            "code": self.code,
            "fbtrace_id": trace,
        }
        if self.subcode is not None:
            error["error_subcode"] = self.subcode
        if self.is_transient is not None:
            error["is_transient"] = self.is_transient
        if self.details:
            error["error_data"] = {"messaging_product": "whatsapp", "details": self.details}
        return {"error": error}


class UnknownObjectError(GraphError):
    """A node that is not there, or that does not know the method."""

    def __init__(self, method: str, node: str) -> None:
        super().__init__(
            100,
            f"Unsupported {method} request. Object with ID '{node}' does not exist, cannot be "
            "loaded due to missing permissions, or does not support this operation. Please read "
            "the Graph API documentation at https://developers.facebook.com/docs/graph-api",
            subcode=33,
        )

    def body(self, trace: str) -> dict[str, Any]:
        """The JSON of the answer: without the code in its text, and with a type of its own."""
        body = super().body(trace)
        body["error"] |= {"message": self.message, "type": "GraphMethodException"}
        return body


class UnknownPathError(GraphError):
    """A path that the Graph API does not have."""

    def __init__(self, path: str) -> None:
        super().__init__(2500, f"Unknown path components: {path}")

    def body(self, trace: str) -> dict[str, Any]:
        """The JSON of the answer: without the code in its text."""
        body = super().body(trace)
        body["error"]["message"] = self.message
        return body


HTTP_STATUS: Final = {
    0: 401,
    190: 401,
    3: 403,
    10: 403,
    368: 403,
    131005: 403,
    131031: 403,
    1: 500,
    2: 503,
    131000: 500,
    131016: 503,
    133004: 503,
    131057: 500,
    133016: 400,
    131052: 500,
    4: 400,
}
"""HTTP statuses other than 400. Clients should not branch on them."""


def check_message(body: Any, media_ids: Container[str]) -> tuple[str, str]:
    """The recipient (digits or user id) and type of a valid message.

    Raises:
        GraphError: as Meta would answer.
    """
    body = _object(body, "body")
    if body.get("messaging_product") != "whatsapp":
        raise _missing("messaging_product")
    if body.get("recipient_type", "individual") != "individual":
        raise _value("recipient_type", "must be individual")
    recipient = _recipient(body)
    kind = body.get("type", "text")
    if kind not in _TYPES:
        raise _value("type", f"must be one of {', '.join(_TYPES)}")
    if kind not in body:
        raise _missing(kind)
    opaque = body.get("biz_opaque_callback_data")
    if opaque is not None and (not isinstance(opaque, str) or len(opaque) > 512):
        raise _value("biz_opaque_callback_data", "at most 512 characters")
    if "context" in body:
        _string(_object(body["context"], "context"), "message_id", 512)
    content = body[kind]
    if kind in _MEDIA:
        _check_media(kind, _object(content, kind), media_ids)
    else:
        _CHECKS[kind](content)
    return recipient, kind


def _recipient(body: dict[str, Any]) -> str:
    if "recipient" in body and "to" not in body:
        recipient = body["recipient"]
        if not isinstance(recipient, str) or not re.fullmatch(r"[A-Z]{2}\.\w{1,100}", recipient):
            raise _value("recipient", "not a business-scoped user id")
        return recipient
    to = body.get("to")
    if not isinstance(to, str) or not to:
        raise _missing("to")
    digits = re.sub(r"[\s()+.-]", "", to)
    if not re.fullmatch(r"\d{7,15}", digits):
        raise GraphError(131009, "Parameter value is not valid", "to is not a phone number")
    return digits


def _check_text(text: Any) -> None:
    _string(_object(text, "text"), "body", 4096)


def _check_template(template: Any) -> None:
    template = _object(template, "template")
    _string(template, "name", 512)
    _string(_object(template.get("language"), "language"), "code", 10)
    for component in _list(template.get("components", []), "components"):
        component = _object(component, "components")
        kind = _string(component, "type", 30).lower()
        if kind == "button" and ("sub_type" not in component or "index" not in component):
            raise _missing("sub_type and index of a button component")
        for parameter in _list(component.get("parameters", []), "parameters"):
            if _string(_object(parameter, "parameters"), "type", 30) == "text":
                text = _string(parameter, "text", 1024)
                if re.search(r"[\n\t]| {5}", text):
                    raise GraphError(
                        132018,
                        "Template parameters are not valid",
                        "a text must not have line breaks, tabs or many spaces",
                    )


def _check_media(kind: str, media: dict[str, Any], media_ids: Container[str]) -> None:
    if ("id" in media) == ("link" in media):
        raise _value(kind, "needs exactly one of id and link")
    if "link" in media and not re.match(r"https?://[^\s/]+", _string(media, "link", 2048)):
        raise _value("link", "must be an http or https address")
    if "id" in media and _string(media, "id", 100) not in media_ids:
        raise GraphError(131009, "Parameter value is not valid", f"no media with id {media['id']}")
    if "caption" in media:
        if kind in ("audio", "sticker"):
            raise _value("caption", f"not allowed for {kind}")
        _string(media, "caption", 1024)
    if "filename" in media and kind != "document":
        raise _value("filename", f"not allowed for {kind}")


def _check_interactive(interactive: Any) -> None:
    interactive = _object(interactive, "interactive")
    kind = _string(interactive, "type", 30)
    action = _object(interactive.get("action"), "action")
    _string(_object(interactive.get("body"), "body"), "text", 4096 if kind == "list" else 1024)
    if "footer" in interactive:
        _string(_object(interactive["footer"], "footer"), "text", 60)
    if kind == "button":
        buttons = _list(action.get("buttons"), "buttons")
        if not 1 <= len(buttons) <= 3:
            raise _value("buttons", "1 to 3 are allowed")
        replies = [_object(_object(b, "button").get("reply"), "reply") for b in buttons]
        if len({_string(reply, "title", 20) for reply in replies}) < len(replies):
            raise _value("buttons", "titles must differ")
        for reply in replies:
            _string(reply, "id", 256)
    elif kind == "list":
        _string(action, "button", 20)
        sections = [_object(s, "section") for s in _list(action.get("sections"), "sections")]
        rows = [_object(r, "row") for s in sections for r in _list(s.get("rows"), "rows")]
        if not 1 <= len(sections) <= 10 or not 1 <= len(rows) <= 10:
            raise _value("sections", "1 to 10 sections and 1 to 10 rows in all are allowed")
        for row in rows:
            _string(row, "id", 200)
            _string(row, "title", 24)
            if "description" in row:
                _string(row, "description", 72)
    elif kind == "cta_url":
        parameters = _object(action.get("parameters"), "parameters")
        _string(parameters, "display_text", 20)
        _string(parameters, "url", 2048)
    else:
        raise _value("interactive.type", "must be button, list or cta_url")


def _check_location(location: Any) -> None:
    location = _object(location, "location")
    for name, bound in (("latitude", 90), ("longitude", 180)):
        try:
            if abs(float(location[name])) > bound:
                raise _value(name, f"must be between -{bound} and {bound}")
        except (KeyError, TypeError, ValueError):
            raise _missing(name) from None


def _check_contacts(contacts: Any) -> None:
    for contact in _list(contacts, "contacts") or [None]:
        name = _object(_object(contact, "contacts").get("name"), "name")
        _string(name, "formatted_name", 1024)


def _check_reaction(reaction: Any) -> None:
    reaction = _object(reaction, "reaction")
    _string(reaction, "message_id", 512)
    if not isinstance(reaction.get("emoji"), str):
        raise _missing("emoji")


_CHECKS: Final = {
    "text": _check_text,
    "template": _check_template,
    "interactive": _check_interactive,
    "location": _check_location,
    "contacts": _check_contacts,
    "reaction": _check_reaction,
}


def _object(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _missing(name)
    return value


def _list(value: Any, name: str) -> list[Any]:
    if not isinstance(value, list):
        raise _missing(name)
    return value


def _string(parent: dict[str, Any], name: str, maximum: int) -> str:
    value = parent.get(name)
    if not isinstance(value, str) or not value:
        raise _missing(name)
    if len(value) > maximum:
        raise _value(name, f"at most {maximum} characters")
    return value


def _missing(name: str) -> GraphError:
    return GraphError(131008, "Required parameter is missing", f"{name} is required")


def _value(name: str, details: str) -> GraphError:
    return GraphError(100, "Invalid parameter", f"{name}: {details}")
