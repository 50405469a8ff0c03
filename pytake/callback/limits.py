"""Messaging limits that Meta reports through the callback."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import structlog

from pytake.callback.parse import Update
from pytake.whatsapp.limits import parse_tier

_log = structlog.get_logger()


_FIELDS: Final = {
    "phone_number_quality_update": ("current_limit", "max_daily_conversations_per_business"),
    "business_capability_update": (
        "max_daily_conversations_per_business",
        "max_daily_conversation_per_phone",
    ),
}


_BY_COUNT: Final = {
    50: "TIER_50",
    250: "TIER_250",
    1000: "TIER_1K",
    2000: "TIER_2K",
    10_000: "TIER_10K",
    100_000: "TIER_100K",
    -1: "TIER_UNLIMITED",
}


def reported(updates: Iterable[Update]) -> Iterator[tuple[Update, str]]:
    """The updates that report a messaging limit, each with its tier."""
    for update in updates:
        value: Any = update.payload
        for name in _FIELDS.get(update.field, ()) if isinstance(value, dict) else ():
            if tier := _tier(value.get(name)):
                yield update, tier
                break


def _tier(value: Any) -> str | None:
    if isinstance(value, int):
        return _BY_COUNT.get(value)
    try:
        return parse_tier(value).name if isinstance(value, str) else None
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class LimitChange:
    """A change of a number's messaging limit (tier names)."""

    phone_number_id: str | None
    before: str
    after: str
