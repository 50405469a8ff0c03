"""The gate before every call to Meta: whether a message may go out now, and exactly when.

One transaction decides for a batch of messages, so that limits hold across any number of workers:

- a number on hold lets only one probe through at a time;
- a number's calls are spaced evenly, slightly below its throughput, and divided among the processes
  that send from it, so that no process depends on the timing of another;
- a new recipient is counted against the messaging limit, or the message waits until there is room.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import delete, func, select, text
from sqlmodel import Session, col

from pytake.contacts import opt_outs
from pytake.contacts.tables import Contact
from pytake.database.upsert import insert_into
from pytake.messages import claims as send_claims
from pytake.messages.waits import WaitReason, number_stopped
from pytake.numbers import store as numbers
from pytake.numbers.rate_parts import RatePart, Sender, join, spacing, whole_calls
from pytake.numbers.states import NumberState
from pytake.numbers.tables import PhoneNumber, WindowEntry
from pytake.whatsapp.limits import CUSTOMER_SERVICE_WINDOW, TIER_WINDOW

MAX_PACE: Final = timedelta(seconds=5)
"""A message whose slot is further ahead goes back to the queue, where its priority counts."""
DIRECT_PACE: Final = timedelta(milliseconds=50)
"""A direct send waits no longer than this for its slot; else it goes to the queue, where priorities
count. A number with a backlog has its next slots taken, so direct sends do not overtake the backlog.
"""
_AHEAD: Final = timedelta(minutes=1)
"""Slots stored further ahead than this come from a clock that was wrong; they are capped, so that they
block the number no longer than this."""


@dataclass(frozen=True, slots=True)
class Process:
    """The process that asks."""

    id: str
    """Unique to this run of the process."""
    keeps: Mapping[str, int]
    """Calls a second that it currently allows itself, by number; 0 if it has no part yet."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A message that wants to go out."""

    phone_number_id: str
    tenant_id: str
    contact_key: str
    counts: bool
    """Whether it counts against the messaging limit when the customer service window is closed; all
    templates do."""
    cleared: bool = False
    """Known not to be marketing: opt-outs do not apply."""
    claim: str | None = None
    """The message id, if this is its first attempt, which only one sender may make."""
    begins: str | None = None
    """The message id, if this is a further attempt."""
    direct: bool = False
    """It is a direct send, which skips the queue."""
    has_slot: bool = False
    """It is already admitted, and only asks for the process's part of the rate."""


@dataclass(frozen=True, slots=True)
class Admission:
    """The decision: ``send_at`` is set if the message may go, else ``reason`` says why not.

    ``until`` is set if the message itself has to wait; without it the number waits.
    """

    send_at: datetime | None = None
    part: RatePart | None = None
    """The process's part of this number's rate; applies to all calls that it has been granted."""
    probe: bool = False
    counted_at: datetime | None = None
    """Set if only this message counted its recipient; the argument of :func:`uncount`."""
    reason: str = ""
    until: datetime | None = None
    opted_out: bool = False
    """The contact opted out: the message may go only if it is not marketing."""
    unregistered: bool = False
    """The number was removed, or never added."""
    claimed_at: datetime | None = None
    """When another sender claimed this message; that attempt may be under way, or over."""


def admit(
    session: Session,
    batch: list[Candidate],
    now: datetime,
    probe_lease: timedelta,
    process: Process,
) -> list[Admission]:
    """Decide for each candidate, in order."""
    decisions: list[Admission | None] = [None] * len(batch)
    by_number: dict[str, list[int]] = defaultdict(list)
    opted_out = opt_outs.opted_out_among(
        session, {c.contact_key for c in batch if c.counts and not c.cleared}
    )
    for index, candidate in enumerate(batch):
        by_number[candidate.phone_number_id].append(index)
    for number_id in sorted(by_number):  # one order for all: no deadlocks
        indexes = by_number[number_id]
        number = numbers.lock(session, number_id)
        if number is None:
            for index in indexes:
                decisions[index] = Admission(unregistered=True)
            continue
        wanted = []
        for index in indexes:
            if _opted_out(batch[index], number, opted_out):
                decisions[index] = Admission(opted_out=True)
            else:
                wanted.append(index)
        pace = _Pace(number, process, now, len(wanted))
        for index, decision in _admit_number(
            session, number, pace, batch, wanted, now, probe_lease
        ):
            decisions[index] = decision
        session.add(number)
    decided = [decision for decision in decisions if decision is not None]
    _claim(session, batch, decided, now)
    send_claims.begin(
        session,
        [
            (candidate.begins, candidate.tenant_id)
            for candidate, decision in zip(batch, decided, strict=True)
            if candidate.begins is not None and decision.send_at is not None
        ],
        now,
    )
    return decided


def _opted_out(candidate: Candidate, number: PhoneNumber, opted_out: set[tuple[str, str]]) -> bool:
    """Whether the contact opted out from the tenant or the number's owner: an opt-out on a shared number
    is recorded for its owner, and applies to every tenant that sends from it.
    """
    if not candidate.counts or candidate.cleared:
        return False
    return any(
        (tenant_id, candidate.contact_key) in opted_out
        for tenant_id in (candidate.tenant_id, number.tenant_id)
    )


def _claim(
    session: Session, batch: list[Candidate], decided: list[Admission], now: datetime
) -> None:
    """Claim the messages that may go. Those that another sender has claimed may not, nor may a second
    try at the same message in this batch.
    """
    indexes: dict[str, int] = {}
    for index, candidate in enumerate(batch):
        if candidate.claim is None or decided[index].send_at is None:
            continue
        if candidate.claim in indexes:
            decided[index] = Admission(reason=WaitReason.CLAIMED, claimed_at=now)
        else:
            indexes[candidate.claim] = index
    claims = [(claim, batch[index].tenant_id) for claim, index in indexes.items()]
    for claim, at in send_claims.claim(session, claims, now).items():
        decided[indexes[claim]] = Admission(reason=WaitReason.CLAIMED, claimed_at=at)


class _Pace:
    """The slots of a number that belong to a process."""

    def __init__(self, number: PhoneNumber, process: Process, now: datetime, wanted: int) -> None:
        self._number, self._now = number, now
        latest = now + _AHEAD
        senders = [Sender(**fields) for fields in number.rate_parts or ()]
        for sender in senders:
            sender.clamp(latest.timestamp())
        if number.next_slot_at is not None:
            number.next_slot_at = min(number.next_slot_at, latest)
        self._senders, self._mine = join(
            senders,
            process.id,
            number.current_rate,
            now.timestamp(),
            enforced=process.keeps.get(number.id, 0),
            wanted=wanted,
        )
        self._alone = len(self._senders) == 1

    @property
    def spacing(self) -> timedelta:
        return timedelta(seconds=spacing(self._number.current_rate, self._mine.calls))

    def next(self) -> datetime | None:
        """The next slot; ``None`` if there are more processes than calls a second."""
        if not self._mine.calls:
            return None
        mine = datetime.fromtimestamp(max(self._mine.next_slot, self._mine.since), UTC)
        slot = max(self._now, mine)
        # Workers of 0.1.0, which have no parts, use next_slot_at.
        return max(slot, self._number.next_slot_at or slot) if self._alone else slot

    def take(self, slot: datetime) -> None:
        number = self._number
        self._mine.take(slot.timestamp(), number.current_rate)
        taken = slot if self._alone else max(self._now, number.next_slot_at or self._now)
        whole = whole_calls(number.current_rate)
        number.next_slot_at = taken + timedelta(seconds=spacing(number.current_rate, whole))

    def save(self) -> RatePart:
        """Store all processes' parts in the row; returns this process's."""
        self._number.rate_parts = [asdict(sender) for sender in self._senders]
        return self._mine.part(self._number.current_rate)


def _admit_number(
    session: Session,
    number: PhoneNumber,
    pace: _Pace,
    batch: list[Candidate],
    indexes: list[int],
    now: datetime,
    probe_lease: timedelta,
) -> list[tuple[int, Admission]]:
    decided: list[tuple[int, Admission]] = []
    if queued := _not_direct(number, pace, batch, indexes, now):
        decided = [(index, Admission(reason=WaitReason.PACE)) for index in sorted(queued)]
        indexes = [index for index in indexes if index not in queued]
    probe = False
    if number.stopped:
        stopped = Admission(reason=number_stopped(number.state, number.reason))
        if not _probe_due(number, now):
            return decided + [(index, stopped) for index in indexes]
        decided += [(index, stopped) for index in indexes[1:]]
        indexes, probe = indexes[:1], True
    full = _count_recipients(session, number, batch, indexes, now)
    admitted: list[tuple[int, Admission]] = []
    for index in indexes:
        verdict = full.get(index, Admission())
        if verdict.until is not None:
            decided.append((index, verdict))
            continue
        if batch[index].has_slot:
            admitted.append((index, Admission()))
            continue
        slot = pace.next()
        if slot is None or slot - now > MAX_PACE:
            admitted.append((index, Admission(reason=WaitReason.PACE)))
            continue
        pace.take(slot)
        if probe:
            number.probe_lease_until = now + probe_lease
        admitted.append(
            (index, Admission(send_at=slot, probe=probe, counted_at=verdict.counted_at))
        )
    if admitted:
        part = pace.save()
        decided += [(index, replace(admission, part=part)) for index, admission in admitted]
    return decided


def _not_direct(
    number: PhoneNumber, pace: _Pace, batch: list[Candidate], indexes: list[int], now: datetime
) -> set[int]:
    """The direct sends that would have to wait; found before their recipients are counted."""
    direct = {index for index in indexes if batch[index].direct}
    slot = pace.next()
    if not direct or number.state != NumberState.ACTIVE or slot is None:
        return direct
    queued = set()
    for index in indexes:
        if index in direct and slot - now > DIRECT_PACE:
            queued.add(index)
        else:
            slot += pace.spacing
    return queued


def _probe_due(number: PhoneNumber, now: datetime) -> bool:
    if (
        number.state != NumberState.HELD
        or number.next_probe_at is None
        or now < number.next_probe_at
    ):
        return False
    return number.probe_lease_until is None or number.probe_lease_until <= now


def _count_recipients(
    session: Session, number: PhoneNumber, batch: list[Candidate], indexes: list[int], now: datetime
) -> dict[int, Admission]:
    """Count the recipients of the messages that count.

    Returns:
        By index, the admissions that wait for room, or carry ``counted_at``.
    """
    counting = [index for index in indexes if batch[index].counts]
    if not counting:
        return {}
    if session.get_bind().dialect.name == "postgresql":
        session.execute(
            text("SELECT pg_advisory_xact_lock(hashtext(:portfolio))"),
            {"portfolio": number.portfolio_id},
        )
    repeats = Counter(batch[index].contact_key for index in counting)
    keys = set(repeats)
    open_windows = set(
        session.scalars(
            select(col(Contact.contact_key)).where(
                col(Contact.phone_number_id) == number.id,
                col(Contact.contact_key).in_(keys),
                col(Contact.last_inbound_at) > now - CUSTOMER_SERVICE_WINDOW,
            )
        )
    )
    since = now - TIER_WINDOW
    counted = set(
        session.scalars(
            select(col(WindowEntry.contact_key)).where(
                col(WindowEntry.portfolio_id) == number.portfolio_id,
                col(WindowEntry.contact_key).in_(keys),
                col(WindowEntry.last_at) > since,
            )
        )
    )
    limit = numbers.daily_limit(number)
    free: float = float("inf")
    if limit is not None and not keys <= (open_windows | counted):
        free = limit - numbers.window_used(session, number.portfolio_id, since)
    decisions: dict[int, Admission] = {}
    fresh: set[str] = set()
    for index in counting:
        key = batch[index].contact_key
        if key in open_windows or key in counted or key in fresh:
            continue
        if free < 1:
            until = _next_free(session, number.portfolio_id, since, now)
            decisions[index] = Admission(reason=WaitReason.TIER_WINDOW_FULL, until=until)
            continue
        free -= 1
        fresh.add(key)
        if repeats[key] == 1:
            decisions[index] = Admission(counted_at=now)
    touched = (counted | fresh) - open_windows
    if touched:
        statement = insert_into(session, WindowEntry).values(
            [
                {
                    "portfolio_id": number.portfolio_id,
                    "contact_key": key,
                    "last_at": now,
                    "tenant_id": number.tenant_id,
                }
                for key in sorted(touched)
            ]
        )
        session.execute(
            statement.on_conflict_do_update(
                index_elements=["portfolio_id", "contact_key"],
                set_={"last_at": statement.excluded.last_at},
            )
        )
    return decisions


def _next_free(session: Session, portfolio_id: str, since: datetime, now: datetime) -> datetime:
    """When the oldest recipient counted leaves the window."""
    oldest = session.scalars(
        select(func.min(WindowEntry.last_at)).where(
            col(WindowEntry.portfolio_id) == portfolio_id, col(WindowEntry.last_at) > since
        )
    ).one()
    return (oldest or now) + TIER_WINDOW


def uncount(session: Session, phone_number_id: str, contact_key: str, counted_at: datetime) -> None:
    """Remove a recipient from the count after Meta refused the message, unless another message has
    counted the recipient since.
    """
    number = session.get(PhoneNumber, phone_number_id)
    if number is None:  # removed meanwhile: the portfolio's count stays as it is
        return
    session.execute(
        delete(WindowEntry).where(
            col(WindowEntry.portfolio_id) == number.portfolio_id,
            col(WindowEntry.contact_key) == contact_key,
            col(WindowEntry.last_at) == counted_at,
        )
    )
