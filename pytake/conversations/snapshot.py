"""The inputs of a decision at one moment. Pure: :mod:`pytake.conversations.load` loads them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from pytake.conversations.party import Party
from pytake.conversations.rules.hours import BusinessHours
from pytake.conversations.rules.responder import MenuRef, Uses
from pytake.conversations.rules.said import Said

_MENU_VALID: Final = timedelta(hours=24)
"""How long a typed number selects an option of the last menu shown."""


@dataclass(frozen=True, slots=True)
class Heard:
    """A message from the contact."""

    said: Said
    at: datetime
    wamid: str | None = None
    recipient: str = ""
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """The state of a conversation: last menu, hand-over, mute, tags."""

    menu: MenuRef | None = None
    menu_at: datetime | None = None
    handover_at: datetime | None = None
    handover_active_at: datetime | None = None
    muted_until: datetime | None = None
    tags: tuple[str, ...] = ()
    uses_since: datetime | None = None

    def shown(self, now: datetime) -> MenuRef | None:
        """The menu that the contact was last shown, while it is valid."""
        if self.menu is None or self.menu_at is None or now - self.menu_at > _MENU_VALID:
            return None
        return self.menu


@dataclass(frozen=True, slots=True)
class Answers:
    """Counts of recent answers to the contact; a change means that another answer came in between."""

    decided: int = 0
    """Decisions about the contact, on any of the tenant's numbers."""
    within_loop: int = 0
    """Answers of this number that the loop breaker counts."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Messages that get one answer together, and everything it depends on besides the rules."""

    party: Party
    at: datetime
    """The time of the decision."""
    heard: tuple[Heard, ...]
    """The contact's unhandled messages; empty if all were handled."""
    hours: BusinessHours
    wamids: tuple[str, ...] = ()
    """The stored messages that the decision handles."""
    revision: int = 0
    """The revision of the tenant's rules."""
    standing: Standing = field(default_factory=Standing)
    answers: Answers = field(default_factory=Answers)
    uses: Mapping[str, Uses] = field(default_factory=dict)
    """Uses of the rules that have limits, by rule id."""
    first: bool = False
    silence: timedelta | None = None
    opted_out: bool | None = None
    """Whether the contact had opted out; ``None`` if not read, as no message is an opt-out or opt-in."""
