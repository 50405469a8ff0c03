"""Why a message waits, as shown in its ``waits``, the search attribute ``Hold`` and metrics."""

from enum import StrEnum


class WaitReason(StrEnum):
    """Reasons without parameters."""

    PACE = "pace"
    """The number's rate is used up for some seconds."""
    TIER_WINDOW_FULL = "tier_window_full"
    """The messaging limit is reached until some recipients leave its window."""
    PAIR_LIMIT = "pair_limit"
    """Meta accepts no more messages to this recipient for now (131056)."""
    CLAIMED = "claimed"
    """Another sender has claimed the message."""
    RECEIPT_WAIT = "receipt_wait"
    """The outcome of an attempt is unknown, and its receipt may still arrive."""
    CALLBACK_DOWN = "callback_down"
    """The outcome is unknown, and no receipt can arrive: no process serves Meta's callback."""
    DATABASE_UNAVAILABLE = "database_unavailable"
    WORKER_OVERLOADED = "worker_overloaded"


_NUMBER = "number "


def number_stopped(state: str, reason: str | None) -> str:
    """The reason for a message whose number is on hold or paused."""
    return f"{_NUMBER}{state}: {reason or 'by hand'}"


def refused_by_meta(code: int | None, title: str) -> str:
    """The reason for a message that waits because of a Meta error."""
    return f"({code}) {title}"


def label(reason: str) -> str:
    """A reason as a metric label: codes and kinds, no free text."""
    if reason.startswith("("):
        return f"code_{reason[1:].partition(')')[0]}"
    return "number_stopped" if reason.startswith(_NUMBER) else reason
