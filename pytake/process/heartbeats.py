"""Heartbeats in the database: which processes are alive, and since when."""

from collections import Counter
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import delete, select
from sqlmodel import Session, col

from pytake.database.upsert import insert_into
from pytake.process.tables import ProcessHeartbeat

EVERY: Final = timedelta(seconds=2)
"""How often a process writes its heartbeat."""


ALIVE: Final = timedelta(seconds=7)
"""A process without a heartbeat for longer than this counts as gone."""


def beat(
    session: Session,
    process_id: str,
    kind: str,
    started_at: datetime,
    now: datetime,
    sending: dict[str, dict[str, int]],
) -> None:
    """Write a heartbeat, and delete those of processes that are long gone."""
    statement = insert_into(session, ProcessHeartbeat).values(
        id=process_id, tenant_id="*", kind=kind, started_at=started_at, seen_at=now, sending=sending
    )
    session.execute(
        statement.on_conflict_do_update(
            index_elements=["id"], set_={"seen_at": now, "sending": statement.excluded.sending}
        )
    )
    session.execute(
        delete(ProcessHeartbeat).where(col(ProcessHeartbeat.seen_at) < now - timedelta(hours=1))
    )


def alive(session: Session, kind: str, now: datetime) -> list[ProcessHeartbeat]:
    """The live processes of a kind (``api``, ``worker``)."""
    return list(
        session.scalars(
            select(ProcessHeartbeat).where(
                col(ProcessHeartbeat.kind) == kind, col(ProcessHeartbeat.seen_at) > now - ALIVE
            )
        )
    )


def sending(session: Session, tenant_id: str | None, now: datetime) -> Counter[str]:
    """Messages whose call to Meta is in flight, by priority; at most :data:`EVERY` old."""
    total: Counter[str] = Counter()
    for process in alive(session, "worker", now):
        for tenant, counts in process.sending.items():
            if tenant_id in (None, tenant):
                total.update(counts)
    return total


def callback_open_since(session: Session, now: datetime) -> datetime | None:
    """Since when at least one API process has been up without a break; ``None`` if none is up.

    While none is up, no receipts can arrive, so a missing receipt proves nothing.
    """
    return min((process.started_at for process in alive(session, "api", now)), default=None)
