"""Messages in the database: outcomes, attempts, lists and counts."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, case, delete, func, inspect, or_, select, update
from sqlmodel import Session, col

from pytake.contacts.identities import contact_key
from pytake.database.upsert import insert_into
from pytake.messages import claims as send_claims
from pytake.messages.contracts import MessageInput, OutcomeRecord, Problem, SendRequest
from pytake.messages.status import HELD_BY_META, RANK, Observation
from pytake.messages.tables import Message, SendAttempt, SendClaim
from pytake.whatsapp.errors import ErrorClass

_STATUS_COLUMNS = (
    "status",
    "status_rank",
    "wamid",
    "sent_at",
    "delivered_at",
    "read_at",
    "played_at",
    "pricing_category",
    "pricing_type",
    "billable",
)


_TIME_OF = {
    Observation.ACCEPTED: "accepted_at",
    **dict.fromkeys(HELD_BY_META, "accepted_at"),
    Observation.DEAD: "failed_at",
    Observation.CANCELLED: "cancelled_at",
}


_ORPHAN = "wamid:"


def orphan_id(wamid: str) -> str:
    """The row id for receipts of an unknown message: sent by another system, or not recorded yet."""
    return _ORPHAN + wamid


def record_outcome(session: Session, record: OutcomeRecord) -> None:
    """Record how a run of a message ended; a repeat changes nothing."""
    record_outcomes(session, [record])


def record_outcomes(session: Session, records: list[OutcomeRecord]) -> None:
    """Record how runs of messages ended, with one statement per set of columns.

    If a receipt arrived first, its status stays if it ranks higher.
    """
    shapes: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for record in sorted(records, key=lambda record: record.message.message_id):
        values = _values(record)
        shapes.setdefault(tuple(values), []).append(values)
    for names, rows in shapes.items():
        session.execute(_upsert(session, names), rows)
    send_claims.release(session, [record.message.message_id for record in records])
    wamids = {r.wamid: r.message.message_id for r in records if r.wamid}
    if not wamids:
        return
    orphans = session.scalars(
        select(Message).where(col(Message.id).in_([orphan_id(wamid) for wamid in wamids]))
    )
    for orphan in orphans.all():
        _adopt_orphan(session, wamids[orphan.id.removeprefix(_ORPHAN)], orphan)


def _values(record: OutcomeRecord) -> dict[str, Any]:
    """The columns of a record."""
    message = record.message
    values: dict[str, Any] = {
        "id": message.message_id,
        "tenant_id": message.tenant_id,
        "phone_number_id": message.phone_number_id,
        "recorded": True,
        "generation": message.generation,
        "status": record.observation.value,
        "status_rank": RANK[record.observation],
        "recipient": message.recipient,
        "contact_key": contact_key(message.recipient),
        "wa_id": record.wa_id,
        "message_type": message.message_type.value,
        "priority": message.priority.value,
        "content": message.content,
        "metadata": message.metadata,
        "waits": [wait.model_dump(mode="json") for wait in message.waits],
        "reply_to": message.reply_to,
        "check_window": message.check_window,
        "max_attempts": message.max_attempts,
        "attempts": record.attempts,
        "fingerprint": message.fingerprint,
        "wamid": record.wamid,
        "superseded_wamids": " ".join(message.superseded_wamids),
        "created_at": message.created_at,
        "scheduled_for": message.scheduled_for,
        "expires_at": message.expires_at,
        "updated_at": record.at,
        _TIME_OF[record.observation]: record.at,
    }
    return values | _error_values(record.problem)


def _upsert(session: Session, names: tuple[str, ...]) -> Any:
    """The statement that writes these columns, keeping a higher-ranked status from a receipt."""
    statement = insert_into(session, inspect(Message).local_table)
    new = statement.excluded
    # A later generation replaces the earlier one's status, unless its own receipt came first.
    replaces = and_(
        new.generation > Message.generation,
        or_(col(Message.wamid).is_(None), col(Message.wamid) != func.coalesce(new.wamid, "")),
    )
    moves = or_(replaces, new.status_rank > Message.status_rank)
    changes: dict[str, Any] = {
        name: new[name]
        for name in names
        if name not in ("id", *_STATUS_COLUMNS) and not name.startswith("error_")
    }
    changes["status"] = case((moves, new.status), else_=Message.status)
    changes["status_rank"] = case((moves, new.status_rank), else_=Message.status_rank)
    changes["wamid"] = func.coalesce(new.wamid, Message.wamid)
    for name in ("code", "class", "title", "detail", "advice"):
        changes[f"error_{name}"] = case(
            (moves, new[f"error_{name}"]), else_=getattr(Message, f"error_{name}")
        )
    return statement.on_conflict_do_update(index_elements=["id"], set_=changes)


def _error_values(problem: Problem | None) -> dict[str, Any]:
    if problem is None:
        return dict.fromkeys(
            f"error_{name}" for name in ("code", "class", "title", "detail", "advice")
        )
    return {
        "error_code": problem.code,
        "error_class": problem.error_class.value,
        "error_title": problem.title,
        "error_detail": problem.detail,
        "error_advice": problem.advice,
    }


def dead_letters_among(session: Session, sent: list[MessageInput]) -> dict[str, Problem]:
    """The problems of those messages whose run is recorded as a dead letter, by id."""
    generations = {message.message_id: message.generation for message in sent}
    rows = session.scalars(
        select(Message).where(
            col(Message.id).in_(generations),
            col(Message.recorded).is_(True),
            col(Message.status) == Observation.DEAD.value,
        )
    )
    return {row.id: problem_of(row) for row in rows if row.generation == generations[row.id]}


def problem_of(row: Message) -> Problem:
    """Why a message became a dead letter."""
    return Problem(
        code=row.error_code,
        error_class=ErrorClass(row.error_class or ErrorClass.PERMANENT),
        title=row.error_title or "",
        detail=row.error_detail or "",
        advice=row.error_advice or "",
    )


def _adopt_orphan(session: Session, message_id: str, orphan: Message) -> None:
    """Merge into the message the receipts that came without our id, before our record."""
    message = session.get_one(Message, message_id)
    if orphan.status_rank > message.status_rank:
        message.status, message.status_rank = orphan.status, orphan.status_rank
        for name in ("code", "class", "title", "detail", "advice"):
            setattr(message, f"error_{name}", getattr(orphan, f"error_{name}"))
    for name in (
        "sent_at",
        "delivered_at",
        "read_at",
        "played_at",
        "failed_at",
        "pricing_category",
        "pricing_type",
        "billable",
    ):
        if getattr(message, name) is None:
            setattr(message, name, getattr(orphan, name))
    session.add(message)
    session.execute(delete(Message).where(col(Message.id) == orphan.id))


def begin_redrive(
    session: Session, message_id: str, generation: int, superseded: list[str], at: datetime
) -> Observation | None:
    """Put a dead letter back in flight, clearing what was observed of the earlier generation.

    Returns:
        The outcome of this generation, if it is already over; else ``None``.
    """
    cleared = dict.fromkeys(
        (
            "status",
            "wamid",
            "accepted_at",
            "sent_at",
            "delivered_at",
            "read_at",
            "played_at",
            "failed_at",
            "cancelled_at",
            "error_code",
            "error_class",
            "error_title",
            "error_detail",
            "error_advice",
            "pricing_category",
            "pricing_type",
            "billable",
        )
    )
    session.execute(
        update(Message)
        .where(col(Message.id) == message_id, col(Message.generation) < generation)
        .values(
            **cleared,
            status_rank=0,
            attempts=0,
            generation=generation,
            updated_at=at,
            superseded_wamids=" ".join(superseded),
        )
    )
    row = session.get(Message, message_id, populate_existing=True)
    if row is None or row.generation < generation or row.status is None:
        return None
    return Observation(row.status)


def log_attempt(
    session: Session,
    request: SendRequest,
    attempt: int,
    at: datetime,
    problem: Problem,
    next_retry_at: datetime | None,
) -> None:
    """Log a failed attempt; ``attempt`` counts from 1 within the message's generation."""
    values = {
        "message_id": request.message_id,
        "generation": request.generation,
        "attempt": attempt,
        "tenant_id": request.tenant_id,
        "priority": request.priority.value,
        "at": at,
        "error_code": problem.code,
        "error_class": problem.error_class.value,
        "error_title": problem.title,
        "error_detail": problem.detail[:1000],
        "next_retry_at": next_retry_at,
    }
    session.execute(insert_into(session, SendAttempt).values(**values).on_conflict_do_nothing())


def attempts_of(session: Session, message_id: str) -> list[SendAttempt]:
    """The failed attempts of a message, oldest first."""
    statement = (
        select(SendAttempt)
        .where(col(SendAttempt.message_id) == message_id)
        .order_by(col(SendAttempt.generation), col(SendAttempt.attempt))
    )
    return list(session.scalars(statement))


def doubtful_since(
    session: Session, request: SendRequest, attempt: int, now: datetime, lost: Problem
) -> datetime | None:
    """When an attempt that may have reached Meta ended; ``None`` if it cannot have reached it.

    An attempt whose worker was killed left no log: it is logged as ``lost``, ending now.
    """
    logged = session.get(SendAttempt, (request.message_id, request.generation, attempt))
    if logged is None:
        log_attempt(session, request, attempt, now, lost, None)
        return now
    return None if logged.error_class == ErrorClass.TRANSIENT else logged.at


def attempts_begun(session: Session, request: SendRequest) -> int:
    """How many attempts of a message's generation are known to have started: those spent or logged, plus
    a later one that was admitted but left no log.
    """
    last = session.scalars(
        select(SendAttempt)
        .where(
            col(SendAttempt.message_id) == request.message_id,
            col(SendAttempt.generation) == request.generation,
        )
        .order_by(col(SendAttempt.attempt).desc())
        .limit(1)
    ).first()
    logged = last.attempt if last else 0
    claim = session.get(SendClaim, request.message_id)
    unlogged = claim is not None and (last is None or claim.claimed_at > last.at)
    return max(request.attempts_spent, logged + unlogged)


def find_receipt(session: Session, message_id: str, superseded: list[str]) -> Message | None:
    """The row that proves Meta accepted this generation of a message, if there is one."""
    row = session.get(Message, message_id)
    if row is None or row.wamid is None or row.wamid in superseded:
        return None
    return row if row.status_rank >= RANK[Observation.ACCEPTED] else None


def get(session: Session, message_id: str) -> Message | None:
    """The row of a message."""
    return session.get(Message, message_id)


@dataclass(frozen=True, slots=True)
class MessageFilter:
    """Filters of ``GET /queue/messages``; times are creation times, ``until`` is exclusive."""

    statuses: tuple[Observation, ...] = ()
    contact_key: str | None = None
    priority: str | None = None
    since: datetime | None = None
    until: datetime | None = None


def list_finished(
    session: Session,
    tenant_id: str | None,
    wanted: MessageFilter,
    limit: int,
    before: tuple[datetime, str] | None,
) -> list[Message]:
    """Finished messages of a tenant (``None``: of all), newest first. ``before`` is a (created_at, id) to
    continue after.
    """
    conditions: list[ColumnElement[bool]] = [
        col(Message.recorded).is_(True),
        col(Message.status).is_not(None),
    ]
    if tenant_id is not None:
        conditions.append(col(Message.tenant_id) == tenant_id)
    if wanted.statuses:
        conditions.append(col(Message.status).in_([s.value for s in wanted.statuses]))
    if wanted.contact_key:
        conditions.append(col(Message.contact_key) == wanted.contact_key)
    if wanted.priority:
        conditions.append(col(Message.priority) == wanted.priority)
    if wanted.since:
        conditions.append(col(Message.created_at) >= wanted.since)
    if wanted.until:
        conditions.append(col(Message.created_at) < wanted.until)
    if before:
        at, message_id = before
        earlier = and_(col(Message.created_at) == at, col(Message.id) < message_id)
        conditions.append(or_(col(Message.created_at) < at, earlier))
    statement = (
        select(Message)
        .where(*conditions)
        .order_by(col(Message.created_at).desc(), col(Message.id).desc())
        .limit(limit)
    )
    return list(session.scalars(statement))


def count_by_status(session: Session, tenant_id: str | None) -> dict[Observation, int]:
    """Finished messages by observation."""
    statement = select(col(Message.status), func.count()).where(
        col(Message.recorded).is_(True), col(Message.status).is_not(None)
    )
    if tenant_id is not None:
        statement = statement.where(col(Message.tenant_id) == tenant_id)
    rows = session.execute(statement.group_by(col(Message.status)))
    return {Observation(status): count for status, count in rows}


def count_retrying(session: Session, tenant_id: str | None, since: datetime) -> dict[str, int]:
    """Messages in back-off, by priority: unfinished, with a retry due after ``since``."""
    latest = func.max(SendAttempt.next_retry_at)
    pending = (
        select(col(SendAttempt.message_id), func.max(SendAttempt.priority).label("priority"))
        .join(Message, col(Message.id) == SendAttempt.message_id, isouter=True)
        .where(
            or_(col(Message.id).is_(None), col(Message.status).is_(None)),
            col(SendAttempt.next_retry_at) >= since,
        )
        .group_by(col(SendAttempt.message_id))
        .having(latest >= since)
    )
    if tenant_id is not None:
        pending = pending.where(col(SendAttempt.tenant_id) == tenant_id)
    subquery = pending.subquery()
    rows = session.execute(select(subquery.c.priority, func.count()).group_by(subquery.c.priority))
    return {str(priority): count for priority, count in rows}
