"""Rules as tenants write them: when they match, and what they answer.

What WhatsApp would refuse is refused here, when the rule is saved: every answer is built once with
every variable at its longest and checked against the limits of ``pytake.messages.content``.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Annotated, Any, Final, Literal, Self, TypeAlias

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from pytake.conversations.rules import variables
from pytake.conversations.rules.triggers import OptionId, OutOfHoursTrigger, Trigger
from pytake.messages.content import (
    Json,
    MediaContent,
    MessageType,
    ReplyButton,
    TemplateContent,
    Text20,
    Text24,
    Text60,
    Text72,
    parse_content,
)

MAX_DELAY: Final = 23 * 3600
"""Seconds; an answer must come inside the customer service window."""
_MAX_DEPTH: Final = 5

OutgoingMessage: TypeAlias = tuple[MessageType, Json]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


Template = Annotated[str, StringConstraints(min_length=1, max_length=4096, pattern=r"\S")]
Label = Annotated[str, StringConstraints(min_length=1, max_length=60, pattern=r"\S")]


# --- Responses --------------------------------------------------------------------------------


class _Response(_Model):
    """What a rule answers; an open set."""

    def messages(self, fill: "Fill") -> list[OutgoingMessage]:
        """The messages that go out."""
        return []

    @model_validator(mode="after")
    def _can_be_sent(self) -> Self:
        for text in self._templates():
            variables.check(text)
        for kind, content in self.messages(Fill(None)):
            try:
                parse_content(kind, content)
            except ValidationError as error:
                problem = error.errors()[0]
                field = ".".join(str(part) for part in problem["loc"])
                message = problem["msg"].removeprefix("Value error, ")
                raise ValueError(
                    f"{f'{field}: ' if field else ''}{message} (with every variable at its longest)"
                ) from None
        return self

    def _templates(self) -> Iterator[str]:
        for name in ("text", "caption"):
            if isinstance(value := getattr(self, name, None), str):
                yield value
        yield from getattr(self, "parameters", None) or []


class Fill:
    """Fills variables in; ``Fill(None)`` with every one at its longest."""

    def __init__(self, values: Mapping[str, str] | None) -> None:
        self._values = values

    def __call__(self, text: str) -> str:
        """The text as it goes out."""
        if self._values is None:
            return variables.longest(text)
        return variables.render(text, self._values) or "…"


class SendMessage(_Response):
    """A text, with up to three buttons."""

    action: Literal["SendMessage"]
    text: Template
    buttons: list[ReplyButton] = Field(default_factory=list, max_length=3)
    header: Text60 | None = None
    footer: Text60 | None = None
    preview_url: bool = False

    @model_validator(mode="after")
    def _frame_needs_buttons(self) -> Self:
        if not self.buttons and (self.header or self.footer):
            raise ValueError("header and footer need buttons")
        return self

    def messages(self, fill: Fill) -> list[OutgoingMessage]:
        """One text, or one message with buttons."""
        body = fill(self.text)
        if not self.buttons:
            return [(MessageType.TEXT, {"body": body, "preview_url": self.preview_url})]
        content: Json = {"body": body, "buttons": [b.model_dump() for b in self.buttons]}
        return [(MessageType.INTERACTIVE, content | _frame(self.header, self.footer))]


class MenuOption(_Model):
    """One option; without a ``response`` the rules decide, by a Reply trigger with its id."""

    id: OptionId
    title: Text24
    description: Text72 | None = None
    response: "Response | None" = None


class SendMenu(_Response):
    """A choice: buttons for up to three options, a list above that. Menus nest by ``response``."""

    action: Literal["SendMenu"]
    text: Template
    button: Text20 = "Ver opções"
    header: Text60 | None = None
    footer: Text60 | None = None
    options: list[MenuOption] = Field(min_length=1, max_length=10)

    @model_validator(mode="after")
    def _descriptions_need_a_list(self) -> Self:
        if len(self.options) <= 3 and any(option.description for option in self.options):
            raise ValueError(
                "options: up to three are shown as buttons, which have no description: leave it out"
            )
        return self

    def messages(self, fill: Fill) -> list[OutgoingMessage]:
        """One interactive message."""
        content: Json = {"body": fill(self.text)} | _frame(self.header, self.footer)
        if len(self.options) <= 3:
            content["buttons"] = [{"id": o.id, "title": o.title} for o in self.options]
        else:
            fields = {"id", "title", "description"}
            rows = [o.model_dump(include=fields, exclude_none=True) for o in self.options]
            content["list"] = {"button": self.button, "sections": [{"rows": rows}]}
        return [(MessageType.INTERACTIVE, content)]


def _frame(header: str | None, footer: str | None) -> Json:
    return {k: v for k, v in (("header", header), ("footer", footer)) if v}


class SendTemplate(_Response, TemplateContent):
    """A template; its ``parameters`` may hold variables."""

    action: Literal["SendTemplate"]

    def messages(self, fill: Fill) -> list[OutgoingMessage]:
        """One template."""
        content = self.model_dump(exclude={"action"}, exclude_none=True)
        if self.parameters:
            content["parameters"] = [fill(text) for text in self.parameters]
        return [(MessageType.TEMPLATE, content)]


class SendMedia(_Response, MediaContent):
    """An image, video, audio, document or sticker; the ``caption`` may hold variables."""

    action: Literal["SendMedia"]

    def messages(self, fill: Fill) -> list[OutgoingMessage]:
        """One media message."""
        content = self.model_dump(exclude={"action"}, exclude_none=True)
        if self.caption:
            content["caption"] = fill(self.caption)
        return [(MessageType.MEDIA, content)]


class TransferToAgent(_Response):
    """Hand the contact over: the bot is silent until the hand-over ends; an event goes out."""

    action: Literal["TransferToAgent"]
    department: Label | None = None
    text: Template | None = None

    def messages(self, fill: Fill) -> list[OutgoingMessage]:
        """The text, if there is one."""
        if self.text is None:
            return []
        return [(MessageType.TEXT, {"body": fill(self.text), "preview_url": False})]


class AddTag(_Response):
    """Note something about the contact."""

    action: Literal["AddTag"]
    tag: Label


Step = Annotated[
    SendMessage | SendMenu | SendTemplate | SendMedia | TransferToAgent | AddTag,
    Field(discriminator="action"),
]


class Sequence(_Response):
    """Several actions, in order."""

    action: Literal["Sequence"]
    actions: list[Step] = Field(min_length=1, max_length=10)

    @model_validator(mode="after")
    def _one_choice(self) -> Self:
        if sum(bool(choices(step)) for step in self.actions) > 1:
            raise ValueError("actions: only one of them may offer buttons or a menu")
        return self

    def messages(self, fill: Fill) -> list[OutgoingMessage]:
        """Those of its actions, in order."""
        return [message for step in self.actions for message in step.messages(fill)]


Response = Annotated[
    SendMessage | SendMenu | SendTemplate | SendMedia | TransferToAgent | AddTag | Sequence,
    Field(discriminator="action"),
]


def steps(response: Any) -> list[Any]:
    """The actions of a response, in order."""
    return list(response.actions) if isinstance(response, Sequence) else [response]


def choices(response: Any) -> list[MenuOption]:
    """What a contact may tap after a response."""
    for step in steps(response):
        if isinstance(step, SendMenu):
            return step.options
        if isinstance(step, SendMessage) and step.buttons:
            return [MenuOption(id=b.id, title=b.title) for b in step.buttons]
    return []


# --- Rules ------------------------------------------------------------------------------------


class RuleFields(_Model):
    """Everything of a rule but its id."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    trigger: Trigger
    response: Response
    active: bool = True
    priority: Annotated[int, Field(ge=0, le=1000)] = 50
    phone_number_id: Annotated[str, StringConstraints(pattern=r"^\d{1,32}$")] | None = None
    business_hours_only: bool = False
    outside_hours_only: bool = False
    delay_seconds: Annotated[float, Field(ge=0, le=MAX_DELAY, allow_inf_nan=False)] = 0
    max_uses_per_contact: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    uses_period_seconds: Annotated[int, Field(ge=1, le=366 * 86400)] | None = None
    cooldown_seconds: Annotated[int, Field(ge=1, le=366 * 86400)] | None = None
    valid_from: AwareDatetime | None = None
    valid_until: AwareDatetime | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.business_hours_only and self.outside_hours_only:
            raise ValueError("set business_hours_only or outside_hours_only, not both")
        if self.business_hours_only and isinstance(self.trigger, OutOfHoursTrigger):
            raise ValueError("business_hours_only: an OutOfHours rule would never match")
        if self.uses_period_seconds is not None and self.max_uses_per_contact is None:
            raise ValueError("uses_period_seconds needs max_uses_per_contact")
        if self.valid_from and self.valid_until and self.valid_from >= self.valid_until:
            raise ValueError("valid_until must be after valid_from")
        ids = [option.id for _, option in walk(self.response)]
        if len(set(ids)) < len(ids):
            raise ValueError("response: option ids must differ, in nested menus too")
        return self


class Rule(RuleFields):
    """A rule as it is kept."""

    id: str
    created_at: datetime


def walk(response: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], MenuOption]]:
    """Every option below a response, with its path of option ids.

    Raises:
        ValueError: menus nest too deep.
    """
    for option in choices(response):
        here = (*path, option.id)
        yield here, option
        if option.response is not None:
            if len(here) >= _MAX_DEPTH:
                raise ValueError(f"response: menus nest at most {_MAX_DEPTH} deep")
            yield from walk(option.response, here)


def at_path(response: Any, path: tuple[str, ...]) -> Any:
    """The response that an option leads to; ``None`` if the path does not exist."""
    for option_id in path:
        response = next((o.response for o in choices(response) if o.id == option_id), None)
    return response


MenuOption.model_rebuild()
for _model in (SendMenu, Sequence, RuleFields, Rule):
    _model.model_rebuild()
