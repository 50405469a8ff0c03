"""What the database knows about messages in flight: all that a page of a list needs, in one transaction."""

from collections import defaultdict
from dataclasses import dataclass, field

from sqlalchemy import select
from sqlmodel import Session, col

from pytake.messages.tables import Message, SendAttempt, SendClaim
from pytake.numbers.states import STOPPED
from pytake.numbers.tables import PhoneNumber


@dataclass(frozen=True, slots=True)
class Known:
    """What is known about a set of messages, by id."""

    finished: frozenset[str] = frozenset()
    """Messages whose outcome is already recorded, though visibility may still list them as running."""
    attempts: dict[str, list[SendAttempt]] = field(default_factory=dict)
    """Failed attempts, oldest first."""
    begun: frozenset[str] = frozenset()
    """Messages whose first attempt has started."""
    stopped: dict[str, PhoneNumber] = field(default_factory=dict)
    """Numbers on hold or paused."""


def known(session: Session, message_ids: list[str]) -> Known:
    """Load what is known about these messages, and the numbers that are stopped."""
    finished = session.scalars(
        select(col(Message.id)).where(
            col(Message.id).in_(message_ids),
            col(Message.recorded).is_(True),
            col(Message.status).is_not(None),
        )
    )
    attempts: dict[str, list[SendAttempt]] = defaultdict(list)
    for attempt in session.scalars(
        select(SendAttempt)
        .where(col(SendAttempt.message_id).in_(message_ids))
        .order_by(col(SendAttempt.generation), col(SendAttempt.attempt))
    ):
        attempts[attempt.message_id].append(attempt)
    begun = session.scalars(
        select(col(SendClaim.message_id)).where(col(SendClaim.message_id).in_(message_ids))
    )
    stopped = session.scalars(select(PhoneNumber).where(col(PhoneNumber.state).in_(STOPPED)))
    return Known(
        frozenset(finished), dict(attempts), frozenset(begun), {row.id: row for row in stopped}
    )
