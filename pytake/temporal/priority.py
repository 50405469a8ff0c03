"""Message priorities, highest first."""

from enum import StrEnum
from typing import Final


class Priority(StrEnum):
    """The four priorities of the queue; parsing is case-insensitive."""

    CRITICAL = "Critical"
    HIGH = "High"
    NORMAL = "Normal"
    LOW = "Low"

    @classmethod
    def _missing_(cls, value: object) -> "Priority | None":
        return next((member for member in cls if member.value.lower() == str(value).lower()), None)


PRIORITY_KEY: Final = {
    Priority.CRITICAL: 1,
    Priority.HIGH: 2,
    Priority.NORMAL: 3,
    Priority.LOW: 4,
}
"""Temporal's priority key: 1 is dispatched first."""
