"""States of a number."""

from enum import StrEnum
from typing import Final


class NumberState(StrEnum):
    """Whether a number sends, as stored and as shown by the API."""

    ACTIVE = "active"
    THROTTLED = "throttled"
    """Below its rate, because Meta refused calls as too many."""
    HELD = "held"
    """Stopped after an error from Meta: one probe at a time finds out when it is over."""
    PAUSED = "paused"
    """Stopped by a person."""


STOPPED: Final = (NumberState.HELD, NumberState.PAUSED)
"""Nothing goes out."""
