"""Why a message waits: said in its waits, in Temporal's search attribute ``Hold`` and in metrics."""

from enum import StrEnum


class WaitReason(StrEnum):
    """The reasons that need no further word."""

    PACE = "pace"
    """The number's rate is used up for some seconds."""
    TIER_WINDOW_FULL = "tier_window_full"
    """The messaging limit counts no more recipients until some leave its window."""
    PAIR_LIMIT = "pair_limit"
    """Meta takes no more messages to this recipient for now (131056)."""
    CLAIMED = "claimed"
    """Another try at it has begun."""
    RECEIPT_WAIT = "receipt_wait"
    """The outcome of an attempt is unknown, and its receipt may come yet."""
    CALLBACK_DOWN = "callback_down"
    """The same, while no process serves Meta's callback: none can come."""
    DATABASE_UNAVAILABLE = "database_unavailable"
    WORKER_OVERLOADED = "worker_overloaded"


_NUMBER = "number "


def number_stopped(state: str, reason: str | None) -> str:
    """The reason of a message whose number sends nothing."""
    return f"{_NUMBER}{state}: {reason or 'by hand'}"


def said_by_meta(code: int | None, title: str) -> str:
    """The reason of a message that Meta told to wait."""
    return f"({code}) {title}"


def label(reason: str) -> str:
    """A reason as a label of metrics: codes and kinds, no free text."""
    if reason.startswith("("):
        return f"code_{reason[1:].partition(')')[0]}"
    return "number_stopped" if reason.startswith(_NUMBER) else reason
