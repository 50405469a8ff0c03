"""Loading the inputs of a decision, read-only."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import func, select
from sqlmodel import Session, col

from pytake.contacts import opt_outs
from pytake.conversations import rule_store as rules
from pytake.conversations.decide import Policy
from pytake.conversations.heard import history_before, read_rows, undecided
from pytake.conversations.party import Party
from pytake.conversations.rules.etiquette import LoopBreaker, wish
from pytake.conversations.rules.matching import RuleBook
from pytake.conversations.rules.responder import limited
from pytake.conversations.snapshot import Answers, Heard, Snapshot
from pytake.conversations.state import find, standing_of, uses_of
from pytake.conversations.tables import AutoReply

_LATELY: Final = timedelta(days=1)
"""Longer than any decision takes."""


class MovedError(Exception):
    """The messages belong to a different tenant from the one the conversation started with."""

    def __init__(self, tenant_id: str) -> None:
        super().__init__(tenant_id)
        self.tenant_id = tenant_id


@dataclass(frozen=True, slots=True)
class Loaded:
    """The inputs of a decision."""

    snapshot: Snapshot
    book: RuleBook


def load_burst(
    session: Session,
    books: rules.Books,
    party: Party,
    wamids: list[str],
    policy: Policy,
    now: datetime,
) -> Loaded | None:
    """Load for inbound messages; ``None`` if the tenant's auto-responder is not installed yet.

    Raises:
        MovedError: the number was moved; the messages belong to another tenant.
    """
    rows = undecided(session, wamids)
    if rows and rows[-1].tenant_id != party.tenant_id:
        raise MovedError(rows[-1].tenant_id)
    if not rules.installed(session, party.tenant_id):
        return None
    heard = read_rows(session, party, rows)
    found = tuple(row.wamid for row in rows)
    first, silence = (
        history_before(session, party, list(found), rows[0].sent_at) if rows else (False, None)
    )
    return load(
        session, books, party, heard, policy, now, wamids=found, first=first, silence=silence
    )


def load(
    session: Session,
    books: rules.Books,
    party: Party,
    heard: list[Heard],
    policy: Policy,
    now: datetime,
    *,
    first: bool,
    silence: timedelta | None,
    wamids: tuple[str, ...] = (),
) -> Loaded:
    """Load for the given messages, whether or not the contact really sent them.

    What is compared when the decision is applied (revision, standing, number of answers) is read before
    the rest: on PostgreSQL each statement sees what was committed by then.
    """
    book = books.load(session, party.tenant_id)
    standing = standing_of(find(session, party))
    answers = answers_of(session, party, policy.loop, now)
    hours = rules.hours_of(session, party.tenant_id, party.phone_number_id)
    rule_ids, starts = limited(book, party.phone_number_id, now)
    uses = uses_of(session, party, standing.uses_since, rule_ids, starts) if rule_ids else {}
    opted_out = None
    if any(wish(item.said.text) for item in heard):
        opted_out = opt_outs.get(session, party.tenant_id, party.contact_key) is not None
    snapshot = Snapshot(
        party=party,
        at=now,
        heard=tuple(heard),
        hours=hours,
        wamids=wamids,
        revision=book.revision,
        standing=standing,
        answers=answers,
        uses=uses,
        first=first,
        silence=silence,
        opted_out=opted_out,
    )
    return Loaded(snapshot, book)


def answers_of(session: Session, party: Party, loop: LoopBreaker, now: datetime) -> Answers:
    """Counts of recent answers to the contact."""
    start = now - timedelta(seconds=loop.seconds)
    within = (
        (col(AutoReply.phone_number_id) == party.phone_number_id)
        & (col(AutoReply.at) > start)
        & (col(AutoReply.status) == "answered")
    )
    statement = select(func.count(), func.count().filter(within)).where(
        col(AutoReply.tenant_id) == party.tenant_id,
        col(AutoReply.contact_key) == party.contact_key,
        col(AutoReply.at) > min(start, now - _LATELY),
    )
    decided, within_loop = session.execute(statement).one()
    return Answers(decided, within_loop)
