"""States of a number."""

from enum import StrEnum
from typing import Final


class NumberState(StrEnum):
    """Whether a number sends, as its row and the API say it."""

    ACTIVE = "active"
    THROTTLED = "throttled"
    """At less than its rate, since Meta refused calls as too many."""
    HELD = "held"
    """By Meta's word: one probe at a time finds out when it is over."""
    PAUSED = "paused"
    """By a person."""


STOPPED: Final = (NumberState.HELD, NumberState.PAUSED)
"""Nothing goes out."""
