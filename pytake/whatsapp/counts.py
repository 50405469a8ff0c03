"""Meta's daily counts and templates."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Template:
    """A template of an account."""

    id: str
    name: str
    language: str
    category: str
    status: str
    quality: str | None = None


@dataclass(slots=True)
class Day:
    """Meta's counts of one day (UTC)."""

    sent: int = 0
    delivered: int = 0
    categories: dict[str, tuple[int, float]] = field(default_factory=dict)
    """Category -> (volume, cost in the account's currency)."""
