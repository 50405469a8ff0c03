"""All that a decision looks at, as it was at one moment. Pure: :mod:`pytake.conversations.load` reads it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from pytake.conversations.party import Party
from pytake.conversations.rules.hours import BusinessHours
from pytake.conversations.rules.responder import MenuRef, Uses
from pytake.conversations.rules.said import Said

_MENU_VALID: Final = timedelta(hours=24)
"""How long a typed number means an option of the menu that was shown."""


@dataclass(frozen=True, slots=True)
class Heard:
    """A message of the contact."""

    said: Said
    at: datetime
    wamid: str | None = None
    recipient: str = ""
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """Where the bot and a contact stand."""

    menu: MenuRef | None = None
    menu_at: datetime | None = None
    handover_at: datetime | None = None
    handover_active_at: datetime | None = None
    muted_until: datetime | None = None
    tags: tuple[str, ...] = ()
    uses_since: datetime | None = None

    def shown(self, now: datetime) -> MenuRef | None:
        """The choice the contact was shown last, while it is valid."""
        if self.menu is None or self.menu_at is None or now - self.menu_at > _MENU_VALID:
            return None
        return self.menu


@dataclass(frozen=True, slots=True)
class Answers:
    """What the contact was answered lately: whether somebody else answered since is told by it."""

    decided: int = 0
    """Decisions about the contact, on any of the tenant's numbers."""
    within_loop: int = 0
    """Answers of this number that the loop breaker counts."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Messages that get one answer between them, and all that it depends on besides the rules."""

    party: Party
    at: datetime
    """The moment that the decision is for."""
    heard: tuple[Heard, ...]
    """What the contact said that nobody has decided about; empty if everything was decided about."""
    hours: BusinessHours
    wamids: tuple[str, ...] = ()
    """The stored messages that the decision settles."""
    revision: int = 0
    """Of the tenant's rules."""
    standing: Standing = field(default_factory=Standing)
    answers: Answers = field(default_factory=Answers)
    uses: Mapping[str, Uses] = field(default_factory=dict)
    """Of the rules that have limits."""
    first: bool = False
    silence: timedelta | None = None
    opted_out: bool | None = None
    """Whether the contact had left; ``None``: not read, as no message may be a wish."""
