"""Search attributes and memo keys."""

from typing import Any, Final

from temporalio.common import SearchAttributeKey

TENANT: Final = SearchAttributeKey.for_keyword("PyTakeTenant")


NUMBER: Final = SearchAttributeKey.for_keyword("PyTakeNumber")


PRIORITY: Final = SearchAttributeKey.for_keyword("PyTakePriority")


CONTACT: Final = SearchAttributeKey.for_keyword("PyTakeContact")
"""A keyed hash of the contact: search attributes hold no personal data."""


HOLD: Final = SearchAttributeKey.for_keyword("PyTakeHold")
"""Why a message waits on a timer of its own; unset otherwise."""


HOLD_UNTIL: Final = SearchAttributeKey.for_datetime("PyTakeHoldUntil")


ATTEMPTS: Final = SearchAttributeKey.for_int("PyTakeAttempts")
"""Attempts spent before a wait; the running activity counts its own."""


SCHEDULED_FOR: Final = SearchAttributeKey.for_datetime("PyTakeScheduledFor")


EXPIRES_AT: Final = SearchAttributeKey.for_datetime("PyTakeExpiresAt")


SEARCH_ATTRIBUTES: Final[tuple[SearchAttributeKey[Any], ...]] = (
    TENANT,
    NUMBER,
    PRIORITY,
    CONTACT,
    HOLD,
    HOLD_UNTIL,
    ATTEMPTS,
    SCHEDULED_FOR,
    EXPIRES_AT,
)
"""All but those of a wait or a reschedule are set at the start: the happy path upserts none."""


MEMO_MESSAGE: Final = "message"
