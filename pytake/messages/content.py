"""Message content as the API takes it, and the Cloud API payload it becomes.

Limits are those of Meta's "Messages" reference (v25.0): content that passes here is well-formed for
Meta. Every model forbids unknown fields.
"""

from enum import StrEnum
from typing import Annotated, Any, Final, Literal, Self, TypeAlias

from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    model_validator,
)

from pytake.contacts.identities import is_user_id

Json: TypeAlias = dict[str, Any]


class MessageType(StrEnum):
    """What ``message_type`` may be."""

    TEXT = "text"
    TEMPLATE = "template"
    MEDIA = "media"
    INTERACTIVE = "interactive"
    LOCATION = "location"
    CONTACTS = "contacts"
    REACTION = "reaction"


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", str_strip_whitespace=False, populate_by_name=True)


_VISIBLE: Final = r"\S"
Text20 = Annotated[str, StringConstraints(min_length=1, max_length=20, pattern=_VISIBLE)]
Text24 = Annotated[str, StringConstraints(min_length=1, max_length=24, pattern=_VISIBLE)]
Text60 = Annotated[str, StringConstraints(min_length=1, max_length=60, pattern=_VISIBLE)]
Text72 = Annotated[str, StringConstraints(min_length=1, max_length=72, pattern=_VISIBLE)]
Text1024 = Annotated[str, StringConstraints(min_length=1, max_length=1024, pattern=_VISIBLE)]
Text4096 = Annotated[str, StringConstraints(min_length=1, max_length=4096, pattern=_VISIBLE)]
HttpUrl = Annotated[str, StringConstraints(max_length=2048, pattern=r"^https?://[^\s/?#]+[^\s]*$")]


class TextContent(_Model):
    """``{"body": "Hello", "preview_url": false}``; ``text`` is accepted for ``body``."""

    body: Text4096 = Field(validation_alias=AliasChoices("body", "text"))
    preview_url: bool = False

    def payload(self) -> Json:
        return {"type": "text", "text": {"body": self.body, "preview_url": self.preview_url}}


class TemplateParameter(BaseModel):
    """One parameter of a component, as Meta takes it; fields beyond ``type`` depend on the type."""

    model_config = ConfigDict(extra="allow")
    type: Annotated[str, StringConstraints(min_length=1, max_length=30)]


class TemplateComponent(_Model):
    """One component of a template, as Meta takes it."""

    type: Literal["header", "body", "button", "carousel", "limited_time_offer", "order_details"]
    sub_type: str | None = None
    index: int | str | None = None
    parameters: list[TemplateParameter] = Field(default_factory=list, max_length=50)
    cards: list[Json] | None = None

    @model_validator(mode="after")
    def _button_has_index(self) -> Self:
        if self.type == "button" and (self.sub_type is None or self.index is None):
            raise ValueError("a button component needs sub_type and index")
        return self


class TemplateContent(_Model):
    """``name`` and ``language``, and either ``parameters`` (texts of the body) or ``components``."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]{1,512}$")]
    language: Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}(_[A-Za-z]{2,4})?$")]
    parameters: list[Text1024] | None = Field(default=None, max_length=50)
    components: list[TemplateComponent] | None = Field(default=None, max_length=20)

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if self.parameters is not None and self.components is not None:
            raise ValueError("give parameters or components, not both")
        return self

    def payload(self) -> Json:
        template: Json = {"name": self.name, "language": {"code": self.language}}
        if self.parameters:
            parameters = [{"type": "text", "text": text} for text in self.parameters]
            template["components"] = [{"type": "body", "parameters": parameters}]
        elif self.components:
            template["components"] = [c.model_dump(exclude_none=True) for c in self.components]
        return {"type": "template", "template": template}


class MediaContent(_Model):
    """``media_type`` and ``url`` or ``id`` of an uploaded file; ``caption`` and ``filename`` where allowed."""

    media_type: Literal["image", "video", "audio", "document", "sticker"]
    url: HttpUrl | None = None
    id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,100}$")] | None = None
    caption: Text1024 | None = None
    filename: Annotated[str, StringConstraints(min_length=1, max_length=240)] | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.url is None) == (self.id is None):
            raise ValueError("give exactly one of url and id")
        if self.caption is not None and self.media_type in ("audio", "sticker"):
            raise ValueError(f"{self.media_type} takes no caption")
        if self.filename is not None and self.media_type != "document":
            raise ValueError(f"{self.media_type} takes no filename; only a document does")
        return self

    def payload(self) -> Json:
        media: Json = {"link": self.url} if self.url else {"id": self.id}
        if self.caption:
            media["caption"] = self.caption
        if self.filename:
            media["filename"] = self.filename
        return {"type": self.media_type, self.media_type: media}


class MediaHeader(_Model):
    """A header that shows media: ``{"type": "image", "url": ...}`` or with ``id``."""

    type: Literal["image", "video", "document"]
    url: HttpUrl | None = None
    id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,100}$")] | None = None

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if (self.url is None) == (self.id is None):
            raise ValueError("give exactly one of url and id")
        return self

    def payload(self) -> Json:
        return {"type": self.type, self.type: {"link": self.url} if self.url else {"id": self.id}}


class ReplyButton(_Model):
    """A quick-reply button."""

    id: Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=r"\S")]
    title: Text20


class ListRow(_Model):
    """One option of a list."""

    id: Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"\S")]
    title: Text24
    description: Text72 | None = None


class ListSection(_Model):
    """A titled group of rows; the title may be left out when there is only one section."""

    title: Text24 | None = None
    rows: list[ListRow] = Field(min_length=1, max_length=10)


class ListAction(_Model):
    """A list behind a button: up to 10 sections and 10 rows in all."""

    button: Text20
    sections: list[ListSection] = Field(min_length=1, max_length=10)

    @model_validator(mode="after")
    def _rows(self) -> Self:
        rows = [row for section in self.sections for row in section.rows]
        if len(rows) > 10:
            raise ValueError(f"a list takes at most 10 rows in all, not {len(rows)}")
        if len({row.id for row in rows}) < len(rows):
            raise ValueError("row ids must differ")
        if len(self.sections) > 1 and any(section.title is None for section in self.sections):
            raise ValueError("every section needs a title when there are several")
        return self


class CtaUrl(_Model):
    """A button that opens an address."""

    display_text: Text20
    url: HttpUrl


class InteractiveContent(_Model):
    """A ``body`` with exactly one of ``buttons`` (up to 3), ``list`` and ``cta_url``."""

    body: Text4096
    header: Text60 | MediaHeader | None = None
    footer: Text60 | None = None
    buttons: list[ReplyButton] | None = Field(default=None, min_length=1, max_length=3)
    list_: ListAction | None = Field(default=None, alias="list")
    cta_url: CtaUrl | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if [self.buttons, self.list_, self.cta_url].count(None) != 2:
            raise ValueError("give exactly one of buttons, list and cta_url")
        if self.list_ is None and len(self.body) > 1024:
            raise ValueError("body takes at most 1024 characters here (4096 in a list)")
        if self.list_ is not None and isinstance(self.header, MediaHeader):
            raise ValueError("the header of a list must be text")
        if self.buttons is not None:
            if len({button.title for button in self.buttons}) < len(self.buttons):
                raise ValueError("button titles must differ")
            if len({button.id for button in self.buttons}) < len(self.buttons):
                raise ValueError("button ids must differ")
        return self

    def payload(self) -> Json:
        interactive: Json = {"body": {"text": self.body}}
        if isinstance(self.header, MediaHeader):
            interactive["header"] = self.header.payload()
        elif self.header:
            interactive["header"] = {"type": "text", "text": self.header}
        if self.footer:
            interactive["footer"] = {"text": self.footer}
        if self.buttons:
            replies = [{"type": "reply", "reply": button.model_dump()} for button in self.buttons]
            interactive |= {"type": "button", "action": {"buttons": replies}}
        elif self.list_:
            action = self.list_.model_dump(exclude_none=True)
            interactive |= {"type": "list", "action": action}
        elif self.cta_url:
            action = {"name": "cta_url", "parameters": self.cta_url.model_dump()}
            interactive |= {"type": "cta_url", "action": action}
        return {"type": "interactive", "interactive": interactive}


class LocationContent(_Model):
    """A point on the map."""

    latitude: float = Field(ge=-90, le=90, allow_inf_nan=False)
    longitude: float = Field(ge=-180, le=180, allow_inf_nan=False)
    name: Text1024 | None = None
    address: Text1024 | None = None

    def payload(self) -> Json:
        return {"type": "location", "location": self.model_dump(exclude_none=True)}


class ContactName(BaseModel):
    """Meta requires the formatted name and one more part."""

    model_config = ConfigDict(extra="allow")
    formatted_name: Text1024


class ContactCard(BaseModel):
    """One contact card; ``phones``, ``emails``, ``org``... go to Meta as they are."""

    model_config = ConfigDict(extra="allow")
    name: ContactName


class ContactsContent(_Model):
    """``{"contacts": [{"name": {"formatted_name": ...}, "phones": [...]}]}``."""

    contacts: list[ContactCard] = Field(min_length=1, max_length=257)

    def payload(self) -> Json:
        return {"type": "contacts", "contacts": [card.model_dump() for card in self.contacts]}


class ReactionContent(_Model):
    """An emoji on a message of the contact; an empty emoji takes the reaction back."""

    message_id: Annotated[str, StringConstraints(min_length=1, max_length=512)]
    emoji: Annotated[str, StringConstraints(max_length=32)]

    def payload(self) -> Json:
        return {"type": "reaction", "reaction": self.model_dump()}


Content: TypeAlias = (
    TextContent
    | TemplateContent
    | MediaContent
    | InteractiveContent
    | LocationContent
    | ContactsContent
    | ReactionContent
)

CONTENT_MODELS: Final[dict[MessageType, type[BaseModel]]] = {
    MessageType.TEXT: TextContent,
    MessageType.TEMPLATE: TemplateContent,
    MessageType.MEDIA: MediaContent,
    MessageType.INTERACTIVE: InteractiveContent,
    MessageType.LOCATION: LocationContent,
    MessageType.CONTACTS: ContactsContent,
    MessageType.REACTION: ReactionContent,
}

_ADAPTERS: Final[dict[MessageType, TypeAdapter[Any]]] = {
    kind: TypeAdapter(model) for kind, model in CONTENT_MODELS.items()
}


def parse_content(message_type: MessageType, content: Json) -> Content:
    """Validate ``content`` against the limits of its type.

    Raises:
        pydantic.ValidationError: with the location of every wrong field.
    """
    parsed: Content = _ADAPTERS[message_type].validate_python(content)
    return parsed


def is_free_form(message_type: MessageType) -> bool:
    """Whether a message is only allowed inside the customer service window: all but templates."""
    return message_type is not MessageType.TEMPLATE


def build_payload(
    *,
    recipient: str,
    message_type: MessageType,
    content: Json,
    message_id: str,
    reply_to: str | None,
) -> Json:
    """The body of ``POST /{phone_number_id}/messages`` for a validated message.

    ``message_id`` travels as ``biz_opaque_callback_data``: every status webhook echoes it.
    """
    address = {"recipient": recipient} if is_user_id(recipient) else {"to": f"+{recipient}"}
    payload: Json = {
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        **address,
        **parse_content(message_type, content).payload(),
        "biz_opaque_callback_data": message_id,
    }
    if reply_to:
        payload["context"] = {"message_id": reply_to}
    return payload
