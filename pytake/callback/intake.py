"""Storing a callback request, in one transaction.

If that fails because of one part (not because the database is unavailable), the other parts are stored and
that one is set aside; otherwise Meta would send the request again for days, and it would fail every time.
"""

from dataclasses import dataclass, field

import structlog
from sqlmodel import Session

from pytake.callback import limits as tiers
from pytake.callback import set_aside
from pytake.callback import store as callbacks
from pytake.callback.events import callback_events
from pytake.callback.limits import LimitChange
from pytake.callback.notices import raise_notices
from pytake.callback.owners import Owners, owners_of
from pytake.callback.parse import Callback, Update
from pytake.callback.parts import Part, envelope, join, kind_of, number_of, split
from pytake.callback.updates import apply_updates
from pytake.clock import now
from pytake.conversations import inbox, wishes
from pytake.conversations.inbox import Waiting
from pytake.conversations.rules.said import read_said
from pytake.database.engine import Database, is_outage
from pytake.messages import receipts
from pytake.messages.events import raise_for
from pytake.messages.status import Observation
from pytake.numbers import alerts
from pytake.numbers import store as numbers
from pytake.problems import ProblemError
from pytake.settings import Settings
from pytake.tenants import UNASSIGNED
from pytake.webhooks import events
from pytake.webhooks.contracts import DeliveryInput

_log = structlog.get_logger()


@dataclass(slots=True)
class Stored:
    """The work left to do after the commit."""

    failed: list[str] = field(default_factory=list)
    """Wamids reported as failed, even in a repeated request: their redrive may not have happened."""
    raised: list[DeliveryInput] = field(default_factory=list)
    limits: list[LimitChange] = field(default_factory=list)
    waiting: list[Waiting] = field(default_factory=list)
    """Messages to signal to their conversations."""
    set_aside: int = 0
    refused: bool = False
    """Whether a part could neither be stored nor set aside: Meta must send it again."""

    def add(self, other: "Stored") -> None:
        """Add the work left by another part."""
        self.failed += other.failed
        self.raised += other.raised
        self.limits += other.limits
        self.waiting += other.waiting


async def make_durable(database: Database, callback: Callback, settings: Settings) -> Stored:
    """Store a request: as a whole if possible, else part by part.

    Raises:
        ProblemError: the database is unavailable.
    """
    try:
        try:
            return await database.write(store, callback, settings)
        except Exception as error:
            if is_outage(error):
                raise
            _log.error("a callback could not be stored as a whole", error=reason_of(error))
            stored = await database.write(store_apart, callback, settings)
    except Exception as error:
        if not is_outage(error):
            raise
        _log.error("callback not made durable", error=type(error).__name__)
        raise ProblemError("the updates could not be made durable: send them again") from error
    if stored.set_aside or stored.refused:
        _log.error("parts of a callback set aside", parts=stored.set_aside, full=stored.refused)
    return stored


def store(session: Session, callback: Callback, settings: Settings) -> Stored:
    """Store a whole request. Idempotent."""
    at = now()
    owners = owners_of(session, callback, settings.whatsapp)
    inbound = callback.inbound
    changed = receipts.apply(session, callback.receipts, owners.tenants, at)
    answered = settings.conversations.auto_responder
    waiting = inbox.store_inbound(session, inbound, owners.tenants, at, answered=answered)
    for number in sorted({m.phone_number_id for m in inbound} - owners.tenants.keys()):
        alerts.raise_once(
            session,
            UNASSIGNED,
            "number_unregistered",
            at,
            severity="warning",
            phone_number_id=number,
            detail=number,
        )
    known = callbacks.store_updates(session, callback.others, owners, at)
    # Without Meta's time a repeat cannot be told from a new occurrence: take it as new.
    fresh = [item for item in callback.others if item.id in known or item.origin.time is None]
    limits = _limits(session, fresh, owners)
    raised = raise_for(session, changed, at) if changed else []
    if not answered:
        # Opt-outs count even while the auto-responder is off.
        said = {item.wamid: read_said(item.type, item.payload) for item in inbound}
        raised += wishes.record_unanswered(session, [(w.party, said[w.wamid]) for w in waiting], at)
        waiting = []
    raised += events.emit(session, list(callback_events(inbound, fresh, limits, owners, at)), at)
    raised += raise_notices(session, fresh, owners, at)
    raised += apply_updates(session, fresh, owners, settings.conversations, at)
    failed = [r.wamid for r in callback.receipts if r.observation is Observation.FAILED]
    return Stored(failed, raised, limits, waiting)


def store_apart(session: Session, callback: Callback, settings: Settings) -> Stored:
    """Store a request that failed as a whole: bisect it down to the failing parts, and set those aside.

    Raises:
        DBAPIError: the database is unavailable; nothing is stored.
    """
    stored, failed = Stored(), list[tuple[Part, str]]()
    _store_half(session, split(callback), settings, stored, failed)
    if failed:
        owners, at = owners_of(session, callback, settings.whatsapp), now()
        aside = [_aside(part, reason, owners) for part, reason in failed]
        try:
            set_aside.add(session, aside, at)
            stored.set_aside = len(aside)
            alerts.raise_once(session, UNASSIGNED, "callback_set_aside", at)
        except set_aside.FullError:
            stored.refused = True
            alerts.raise_once(session, UNASSIGNED, "callback_set_aside_full", at)
    return stored


def _store_half(
    session: Session,
    parts: list[Part],
    settings: Settings,
    stored: Stored,
    failed: list[tuple[Part, str]],
) -> None:
    try:
        with session.begin_nested():
            half = store(session, join(parts), settings)
    except Exception as error:
        if is_outage(error):
            raise
        if len(parts) > 1:
            middle = len(parts) // 2
            _store_half(session, parts[:middle], settings, stored, failed)
            _store_half(session, parts[middle:], settings, stored, failed)
        elif parts:
            failed.append((parts[0], reason_of(error)))
    else:
        stored.add(half)


def reason_of(error: Exception) -> str:
    """The type of an error; not its text, which may quote a message."""
    return type(getattr(error, "orig", None) or error).__name__


def _aside(part: Part, reason: str, owners: Owners) -> set_aside.Aside:
    tenant_id = owners.of(part) if isinstance(part, Update) else owners.of_number(number_of(part))
    return set_aside.Aside(
        tenant_id=tenant_id or UNASSIGNED,
        kind=kind_of(part),
        envelope=envelope(part),
        reason=reason,
        account_id=part.origin.account,
        phone_number_id=number_of(part),
    )


def replay(session: Session, key: str, callback: Callback, settings: Settings) -> Stored:
    """Store a part that was set aside, and remove it there."""
    stored = store(session, callback, settings)
    left = set_aside.remove(session, key)
    ended = ["callback_set_aside_full"] if left < set_aside.MAX_ROWS else []
    if left == 0:
        ended.append("callback_set_aside")
    alerts.end(session, tuple(ended), now())
    return stored


def _limits(session: Session, updates: list[Update], owners: Owners) -> list[LimitChange]:
    changes = []
    for item, tier in tiers.reported(updates):
        portfolio = owners.portfolio(item)
        if portfolio is None:
            continue
        if before := numbers.report_tier(session, item.phone_number_id, portfolio, tier):
            changes.append(LimitChange(item.phone_number_id, before, tier))
    return changes
