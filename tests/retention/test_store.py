"""Pruning: what is old and finished goes, everything else stays; on both databases."""

from datetime import datetime, timedelta

from sqlalchemy import select
from sqlmodel import Session, col

from pytake.callback.owners import Owners
from pytake.callback.parse import Origin, Update
from pytake.callback.store import store_updates
from pytake.contacts.tables import Contact
from pytake.conversations import state as conversation_state
from pytake.conversations.inbound import Inbound
from pytake.conversations.inbox import mark_signalled, store_inbound
from pytake.conversations.party import Party
from pytake.conversations.tables import AutoReply, InboundMessage
from pytake.database.engine import Database
from pytake.messages import store as messages
from pytake.messages.contracts import OutcomeRecord, Problem
from pytake.messages.status import Observation
from pytake.messages.tables import Message, SendAttempt
from pytake.retention import store as prune
from pytake.whatsapp.errors import ErrorClass
from tests.messages.samples import NOW, message

OLD, NEW = NOW - timedelta(days=200), NOW - timedelta(days=10)
BEFORE = NOW - timedelta(days=180)


def fill(session: Session, at: datetime, name: str) -> None:
    problem = Problem(error_class=ErrorClass.PERMANENT, title="x")
    for index in range(3):
        record = OutcomeRecord(
            message=message(f"{name}{index}"),
            observation=Observation.DEAD,
            at=at,
            attempts=1,
            problem=problem,
        )
        messages.record_outcome(session, record)
        session.add(
            SendAttempt(
                message_id=f"{name}{index}",
                generation=0,
                attempt=1,
                tenant_id="t",
                priority="Low",
                at=at,
                error_class="permanent",
                error_title="x",
            )
        )
    redriven = message(f"{name}-in-flight")
    messages.record_outcome(
        session,
        OutcomeRecord(
            message=redriven, observation=Observation.DEAD, at=at, attempts=1, problem=problem
        ),
    )
    messages.begin_redrive(session, redriven.message_id, 1, [], at)
    inbound = Inbound(f"w{name}", "1", "5561", "5561", None, "Ana", "text", {}, at)
    store_inbound(session, [inbound], {"1": "t"}, at)
    update = Update(Origin(), None, "account_alerts", {"n": name})
    store_updates(session, [update], Owners({}, ""), at)
    session.add(
        AutoReply(
            key=f"w{name}",
            tenant_id="t",
            phone_number_id="1",
            contact_key="5561",
            recipient="5561",
            rule_id="r",
            status="answered",
            messages=[["text", {"body": "x"}]],
            at=at,
        )
    )


def ids(session: Session) -> set[str]:
    return set(session.scalars(select(col(Message.id))))


def test_what_is_old_and_finished_goes(database: Database) -> None:
    database.write_now(fill, OLD, "old")
    database.write_now(fill, NEW, "new")
    counted = database.read_now(prune.count, BEFORE)
    assert (counted["messages"], counted["inbound messages"], counted["answers"]) == (3, 0, 1)
    # A message that its conversation has not been told of yet is not finished.
    database.write_now(mark_signalled, ["wold", "wnew"], NOW)
    counted = database.read_now(prune.count, BEFORE)
    for name in prune.names():
        removed = 0
        while step := database.write_now(prune.step, name, BEFORE):
            removed += step
        assert removed == counted[name], name
    kept = {"new0", "new1", "new2", "new-in-flight", "old-in-flight"}
    assert database.read_now(ids) == kept
    with Session(database.engine) as session:
        attempts = set(session.scalars(select(col(SendAttempt.message_id))))
        assert attempts == {"new0", "new1", "new2"}
        assert set(session.scalars(select(col(InboundMessage.wamid)))) == {"wnew"}
        assert session.get(Contact, ("1", "5561")) is not None
        old = session.get_one(AutoReply, "wold")
        assert (old.messages, old.recipient) == ([], "")
        party = Party("t", "1", "5561")
        assert conversation_state.uses_of(session, party, None)["r"].count == 2
    assert sum(database.read_now(prune.count, BEFORE).values()) == 0
