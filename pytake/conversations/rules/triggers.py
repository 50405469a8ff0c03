"""What makes a rule match: words, expressions, taps, media, and the situation."""

import re
from typing import Annotated, Final, Literal

import re2
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

from pytake.conversations.rules.text import fold

_MAX_PATTERN_MEMORY: Final = 1 << 20


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


Phrase = Annotated[str, StringConstraints(min_length=1, max_length=200)]
OptionId = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"\S")]


class KeywordTrigger(_Model):
    """One of the words, wherever ``match_type`` says; case and accents count only if asked to."""

    type: Literal["Keyword"]
    words: list[Phrase] = Field(min_length=1, max_length=200)
    match_type: Literal["Exact", "Contains", "StartsWith", "EndsWith", "WholeWord"] = "Contains"
    exact_accents: bool = False

    @field_validator("words")
    @classmethod
    def _something_to_find(cls, words: list[str]) -> list[str]:
        for word in words:
            if not fold(word):
                raise ValueError(f"{word!r} has no character that can be looked for")
        return words


class PatternTrigger(_Model):
    """A regular expression (RE2 syntax), found anywhere; case never counts, accents if asked to."""

    type: Literal["Pattern"]
    pattern: Annotated[str, StringConstraints(min_length=1, max_length=1000)]
    exact_accents: bool = False

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        try:
            re2.compile(pattern, options=pattern_options())
        except re2.error as error:
            raise ValueError(_where(pattern, error)) from None
        return pattern


def pattern_options() -> re2.Options:
    """How patterns are compiled: linear time, and a bounded size."""
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _MAX_PATTERN_MEMORY
    return options


def _where(pattern: str, error: re2.error) -> str:
    """RE2's complaint, and the place it is about."""
    raw = error.args[0] if error.args else b""
    text = raw.decode("utf-8", "replace") if isinstance(raw, bytes) else str(raw)
    problem, _, part = text.partition(": ")
    position = _unmatched(pattern) if part == pattern else pattern.rfind(part) if part else -1
    place = f" at character {position + 1}" if position >= 0 else ""
    found = f": {part!r}" if part and part != pattern else ""
    return f"not a valid regular expression: {problem}{place}{found}"


def _unmatched(pattern: str) -> int:
    """Where the parenthesis stands that RE2 misses the other of; -1 if there is none."""
    opened: list[int] = []
    in_class = False
    for match in re.finditer(r"\\.|[][()]", pattern, re.DOTALL):
        sign = match[0]
        if in_class or sign == "[":
            in_class = sign != "]"
        elif sign == "(":
            opened.append(match.start())
        elif sign == ")":
            if not opened:
                return match.start()
            opened.pop()
    return opened[-1] if opened else -1


class ReplyTrigger(_Model):
    """A tapped button or list row, by its id; ``Button`` and ``ListReply`` take one kind only.

    An id that is another rule's id is answered by that rule, without a trigger of its own.
    """

    type: Literal["Reply", "Button", "ListReply"]
    ids: list[OptionId] = Field(min_length=1, max_length=100)


class MediaTrigger(_Model):
    """A message of one of the types."""

    type: Literal["Media"]
    media_types: list[
        Literal["image", "video", "audio", "document", "sticker", "location", "contacts"]
    ] = Field(min_length=1)


class WelcomeTrigger(_Model):
    """A contact's first message ever, or (if given) the first after a silence."""

    type: Literal["Welcome"]
    after_silence_hours: Annotated[float, Field(gt=0, le=24 * 366)] | None = None


class OutOfHoursTrigger(_Model):
    """Any message while it is closed; answers once per contact and closed period."""

    type: Literal["OutOfHours"]


class AwayTrigger(_Model):
    """Any message while ``away`` is set in the business hours: nobody is there."""

    type: Literal["NoAgent", "Away"]


class OptTrigger(_Model):
    """A contact who leaves (``OptOut``) or comes back (``OptIn``): the text of the confirmation."""

    type: Literal["OptOut", "OptIn"]


class DefaultTrigger(_Model):
    """Whatever no other rule answers."""

    type: Literal["Default"]


Trigger = Annotated[
    KeywordTrigger
    | PatternTrigger
    | ReplyTrigger
    | MediaTrigger
    | WelcomeTrigger
    | OutOfHoursTrigger
    | AwayTrigger
    | OptTrigger
    | DefaultTrigger,
    Field(discriminator="type"),
]
