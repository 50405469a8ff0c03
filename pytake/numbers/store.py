"""Numbers: who owns them, and how fast each may send right now.

The row is the source of truth for a number's rate; Temporal's weight override follows it
(``activities.numbers``). Every change reads and writes one locked row.
"""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import func, literal, select, update
from sqlmodel import Session, col

from pytake import clock
from pytake.database.upsert import insert_into
from pytake.numbers import alerts
from pytake.numbers.senders import INSTALLATION
from pytake.numbers.states import NumberState
from pytake.numbers.tables import Alert, NumberShare, PhoneNumber, WindowEntry
from pytake.webhooks.event_types import EventType, NumberEvent
from pytake.webhooks.events import NewEvent, emit
from pytake.whatsapp.errors import ErrorRule, rule_for
from pytake.whatsapp.limits import (
    dispatch_rate,
    parse_tier,
    probe_wait,
    recovered_rate,
    throttled_rate,
)

HELD_WEIGHT: Final = 0.2
"""Dispatches per second of a number on hold: a trickle that keeps its queue moving.

Less would delay the release: Temporal waits for the token that it has reserved."""
THROTTLE_ONCE_IN: Final = timedelta(seconds=2)
"""Calls in flight when a number is throttled all fail with 130429: they count once."""
RECOVER_EVERY: Final = timedelta(seconds=10)
"""Time without another 130429 before each step back up."""
_STEP_OVERDUE: Final = 3 * RECOVER_EVERY
CONFIGURED_OWNER: Final = "default"
"""The tenant that the configured number belongs to unless it is moved."""
_RATE_HIT: Final = rule_for(130429)


def weight(number: PhoneNumber) -> float:
    """The fairness weight that the number's queue should have, in dispatches per second."""
    return HELD_WEIGHT if number.stopped else dispatch_rate(number.current_rate)


def get(session: Session, phone_number_id: str) -> PhoneNumber | None:
    """The number's row."""
    return session.get(PhoneNumber, phone_number_id)


def lock(session: Session, phone_number_id: str) -> PhoneNumber | None:
    """The number's row, locked until the transaction ends (on SQLite all writers are locked out)."""
    return session.get(PhoneNumber, phone_number_id, with_for_update=True)


def register(
    session: Session,
    phone_number_id: str,
    *,
    tenant_id: str,
    portfolio_id: str,
    rate: float,
    tier: str,
    shared: bool = False,
) -> PhoneNumber:
    """The number's row, created if it is new; otherwise its rate and tier change, its owner stays."""
    session.execute(
        insert_into(session, PhoneNumber)
        .values(
            id=phone_number_id,
            tenant_id=tenant_id,
            portfolio_id=portfolio_id,
            shared=shared,
            state=NumberState.ACTIVE,
            base_rate=rate,
            current_rate=rate,
            tier=tier,
            probes=0,
        )
        .on_conflict_do_nothing()
    )
    number = lock(session, phone_number_id)
    assert number is not None  # noqa: S101 - inserted above in this transaction
    set_rate(number, rate)
    number.tier, number.portfolio_id = tier, portfolio_id
    session.add(number)
    end_unregistered_alert(session, phone_number_id)
    return number


def end_unregistered_alert(session: Session, phone_number_id: str) -> None:
    """End the alert about messages that arrived for the number before it was registered."""
    alerts.end(session, ("number_unregistered",), clock.now(), phone_number_id=phone_number_id)


def register_configured(
    session: Session, phone_number_id: str, *, portfolio_id: str, rate: float, tier: str
) -> PhoneNumber:
    """Register the installation's number; from now on it is the only shared one."""
    number = register(
        session,
        phone_number_id,
        tenant_id=CONFIGURED_OWNER,
        portfolio_id=portfolio_id,
        rate=rate,
        tier=tier,
        shared=True,
    )
    number.shared = True
    session.execute(
        update(PhoneNumber)
        .where(col(PhoneNumber.shared).is_(True), col(PhoneNumber.id) != phone_number_id)
        .values(shared=False)
    )
    return number


def set_rate(number: PhoneNumber, rate: float) -> None:
    """Change the number's base rate (messages per second); a throttled number does not speed up."""
    if number.base_rate != rate:
        if number.state != NumberState.THROTTLED or number.current_rate > rate:
            number.current_rate = rate
        number.base_rate = rate


def visible(session: Session, tenant_id: str | None) -> list[PhoneNumber]:
    """The numbers a tenant may use (``None``: all), in order of id."""
    statement = select(PhoneNumber).order_by(col(PhoneNumber.id))
    if tenant_id is not None:
        shares = select(col(NumberShare.phone_number_id)).where(
            col(NumberShare.tenant_id) == tenant_id
        )
        statement = statement.where(
            (col(PhoneNumber.tenant_id) == tenant_id)
            | col(PhoneNumber.id).in_(shares)
            | (col(PhoneNumber.shared).is_(True) & literal(INSTALLATION).in_(shares))
        )
    return list(session.scalars(statement))


def throttle(
    session: Session, phone_number_id: str, now: datetime, rule: ErrorRule = _RATE_HIT
) -> PhoneNumber | None:
    """Halve the number's rate, once for all calls that were in flight together.

    On a number that is held, the probe that got this answer is over, and the next one backs off.
    """
    number = lock(session, phone_number_id)
    if number is None:
        return None
    if number.stopped:
        _back_off(number, now)
        return number
    if number.rate_changed_at and now - number.rate_changed_at < THROTTLE_ONCE_IN:
        return number
    if number.state != NumberState.THROTTLED:
        number.state, number.state_since = NumberState.THROTTLED, now
    number.current_rate = throttled_rate(number.current_rate, number.base_rate)
    number.rate_changed_at = now
    number.reason_code, number.reason, number.advice = rule.code, rule.title, rule.advice
    session.add(number)
    return number


def recover(session: Session, phone_number_id: str, now: datetime) -> PhoneNumber | None:
    """Take one step back up, if the last change is long enough ago."""
    number = lock(session, phone_number_id)
    if number is None or number.state != NumberState.THROTTLED:
        return number
    if number.rate_changed_at and now - number.rate_changed_at < RECOVER_EVERY:
        return number
    number.current_rate = recovered_rate(number.current_rate, number.base_rate)
    number.rate_changed_at = now
    if number.current_rate >= number.base_rate:
        _activate(number, now)
    session.add(number)
    return number


def overdue_and_changed(
    session: Session, now: datetime, since: datetime
) -> tuple[list[PhoneNumber], list[PhoneNumber]]:
    """Throttled numbers whose next step up is overdue; and all other numbers that are throttled, or
    whose state or rate changed after ``since``.
    """
    changed = session.scalars(
        select(PhoneNumber).where(
            (col(PhoneNumber.state) == NumberState.THROTTLED)
            | (col(PhoneNumber.state_since) > since)
            | (col(PhoneNumber.rate_changed_at) > since)
        )
    ).all()
    overdue = [
        number
        for number in changed
        if number.state == NumberState.THROTTLED
        and (number.rate_changed_at or since) < now - _STEP_OVERDUE
    ]
    return overdue, [number for number in changed if number not in overdue]


def hold(
    session: Session, phone_number_id: str, rule: ErrorRule, now: datetime
) -> PhoneNumber | None:
    """Stop the number after an account-level failure; a failed probe makes the next one back off.

    The first probe waits for ``rule.wait_seconds`` if Meta names a time.
    """
    number = lock(session, phone_number_id)
    if number is None or number.state == NumberState.PAUSED:
        return number
    if number.state != NumberState.HELD:
        number.state, number.state_since, number.probes = NumberState.HELD, now, 0
        _raise_alert(session, number, "number_held", rule.code, rule.title, rule.advice, now)
        _emit(session, number, EventType.NUMBER_HELD, now, rule.code, rule.title, rule.advice)
    elif number.probe_lease_until is not None:
        number.probes += 1
    number.reason_code, number.reason, number.advice = rule.code, rule.title, rule.advice
    number.probe_lease_until = None
    wait = max(probe_wait(number.probes), timedelta(seconds=rule.wait_seconds))
    number.next_probe_at = now + wait
    session.add(number)
    return number


def pause(session: Session, phone_number_id: str, now: datetime, reason: str) -> PhoneNumber | None:
    """Stop the number by hand: there are no probes, and only :func:`resume` releases it."""
    number = lock(session, phone_number_id)
    if number is None:
        return None
    if number.state != NumberState.PAUSED:
        number.state, number.state_since = NumberState.PAUSED, now
        _emit(session, number, EventType.NUMBER_HELD, now, None, reason, "Resume it when ready.")
    number.reason_code, number.reason, number.advice = None, reason, "Resume the number when ready."
    number.next_probe_at = number.probe_lease_until = None
    session.add(number)
    return number


def resume(session: Session, phone_number_id: str, now: datetime) -> PhoneNumber | None:
    """Release a held or paused number, and end its alerts."""
    number = lock(session, phone_number_id)
    if number is None:
        return None
    if number.stopped:
        _activate(number, now)
        if number.current_rate < number.base_rate:
            number.state = NumberState.THROTTLED
            number.rate_changed_at = now
        _emit(session, number, EventType.NUMBER_RESUMED, now)
        alerts.end(session, ("number_held",), now, phone_number_id=phone_number_id)
    session.add(number)
    return number


def end_probe(session: Session, phone_number_id: str, now: datetime, *, again: bool) -> None:
    """A probe ended without saying anything about the hold.

    ``again``: another message may probe at once, because this one failed for a reason of its own;
    otherwise (Meta was down) the next probe backs off.
    """
    number = lock(session, phone_number_id)
    if number is None or number.state != NumberState.HELD:
        return
    if again:
        number.probe_lease_until, number.next_probe_at = None, now
        session.add(number)
    else:
        _back_off(number, now)


def report_tier(
    session: Session, phone_number_id: str | None, portfolio_id: str, tier: str
) -> str | None:
    """Store the messaging limit that Meta reported, for every number of the portfolio.

    Returns:
        The previous limit, if the report changed it.
    """
    number = session.get(PhoneNumber, phone_number_id) if phone_number_id else None
    portfolio = number.portfolio_id if number else portfolio_id
    name = parse_tier(tier).name
    before: str | None = None
    for row in session.scalars(
        select(PhoneNumber)
        .where(col(PhoneNumber.portfolio_id) == portfolio)
        .order_by(col(PhoneNumber.id))
        .with_for_update()
    ):
        if row.reported_tier != name:
            known = row.effective_tier
            if parse_tier(known).daily_limit != parse_tier(name).daily_limit:
                before = known
            row.reported_tier = name
            session.add(row)
    return before


def daily_limit(number: PhoneNumber) -> int | None:
    """Unique recipients per rolling 24 hours; ``None`` is unlimited."""
    return parse_tier(number.effective_tier).daily_limit


def window_used(session: Session, portfolio_id: str, since: datetime) -> int:
    """Unique recipients counted after ``since``."""
    statement = select(func.count()).where(
        col(WindowEntry.portfolio_id) == portfolio_id, col(WindowEntry.last_at) > since
    )
    return session.scalars(statement).one()


def open_alerts(session: Session, tenant_id: str | None) -> list[Alert]:
    """Alerts that have not ended, newest first."""
    statement = select(Alert).where(col(Alert.ended_at).is_(None)).order_by(col(Alert.since).desc())
    if tenant_id is not None:
        statement = statement.where(col(Alert.tenant_id) == tenant_id)
    return list(session.scalars(statement))


def _emit(
    session: Session,
    number: PhoneNumber,
    kind: EventType,
    now: datetime,
    code: int | None = None,
    reason: str | None = None,
    advice: str | None = None,
) -> None:
    """Emit the event; the workers' sweep starts its deliveries."""
    data = NumberEvent(
        phone_number_id=number.id,
        at=now,
        state=number.state,
        code=code,
        reason=reason,
        advice=advice,
    )
    key = f"{number.id}:{now.isoformat()}"
    event = NewEvent(number.tenant_id, kind.value, key, data.model_dump(mode="json"), now)
    emit(session, [event], now)


def _back_off(number: PhoneNumber, now: datetime) -> None:
    """End a probe that did not succeed: the next one waits longer."""
    if number.state != NumberState.HELD or number.probe_lease_until is None:
        return
    number.probes += 1
    number.probe_lease_until = None
    number.next_probe_at = now + probe_wait(number.probes)


def _activate(number: PhoneNumber, now: datetime) -> None:
    number.state, number.state_since = NumberState.ACTIVE, now
    number.reason_code = number.reason = number.advice = None
    number.probes = 0
    number.next_probe_at = number.probe_lease_until = None


def _raise_alert(
    session: Session,
    number: PhoneNumber,
    kind: str,
    code: int,
    title: str,
    advice: str,
    now: datetime,
) -> None:
    session.add(
        Alert(
            tenant_id=number.tenant_id,
            phone_number_id=number.id,
            kind=kind,
            severity="critical",
            code=code,
            title=title,
            advice=advice,
            since=now,
        )
    )
