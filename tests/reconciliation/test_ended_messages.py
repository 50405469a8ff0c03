"""A message whose workflow was ended from outside: what it is recorded as, on both databases."""

from datetime import timedelta

import pytest

from pytake.database.engine import Database
from pytake.messages import claims as send_claims
from pytake.messages import receipts
from pytake.messages import store as messages
from pytake.messages.contracts import MessageInput, Problem, new_message_id
from pytake.messages.status import Observation
from pytake.reconciliation import store as ended
from pytake.reconciliation.store import Closed, Ending
from pytake.whatsapp.errors import ErrorClass
from tests.messages.samples import NOW, TENANTS, message, receipt

WINDOW = timedelta(seconds=45)
LATER = NOW + timedelta(minutes=5)
TERMINATED = Ending("terminated", NOW, detail="by ana: wrong list")


def close(
    database: Database, it: MessageInput, ending: Ending = TERMINATED, after: float = 0
) -> Closed:
    at = NOW + timedelta(seconds=after)
    return database.write_now(ended.close_message, it, ending, WINDOW, at)


def log(database: Database, it: MessageInput, error: ErrorClass, retry: float | None) -> None:
    """A failed attempt, a second before the end; the next one is due ``retry`` seconds after the end."""
    due = NOW + timedelta(seconds=retry) if retry is not None else None
    problem = Problem(code=131000, error_class=error, title="Something went wrong")
    database.write_now(
        messages.log_attempt, it.request(), 1, NOW - timedelta(seconds=1), problem, due
    )


def problem(closed: Closed) -> Problem:
    assert closed.record is not None
    assert closed.record.observation is Observation.DEAD
    assert closed.record.problem is not None
    return closed.record.problem


def test_what_was_never_begun_is_dead_at_once_and_never_begins(database: Database) -> None:
    it = message(new_message_id())
    found = problem(close(database, it))
    assert found.error_class is ErrorClass.PERMANENT
    assert "terminated" in found.title
    assert "wrong list" in found.detail
    late = database.write_now(send_claims.claim, [(it.message_id, "t")], NOW)
    assert list(late) == [it.message_id], "an attempt that wakes up late posts nothing"
    assert close(database, it) == Closed(), "a repeat changes nothing"


def test_a_message_that_was_being_sent_is_looked_for_first(database: Database) -> None:
    lost, sent = message(new_message_id()), message(new_message_id())
    claimed = NOW - timedelta(seconds=5)
    for it in (lost, sent):
        database.write_now(send_claims.claim, [(it.message_id, "t")], claimed)
        assert close(database, it).retry_at == claimed + WINDOW
    early = receipt(f"w-{sent.message_id}", Observation.SENT, sent.message_id)
    database.write_now(receipts.apply, [early], TENANTS, NOW)
    accepted = close(database, sent).record
    assert accepted is not None
    assert (accepted.observation, accepted.wamid) == (Observation.ACCEPTED, early.wamid)
    found = problem(close(database, lost, after=60))
    assert found.error_class is ErrorClass.AMBIGUOUS
    assert "Ask the recipient" in found.advice
    # The receipt that comes after all is the truth.
    late = receipt(f"w-{lost.message_id}", Observation.DELIVERED, lost.message_id)
    database.write_now(receipts.apply, [late], TENANTS, LATER)
    row = database.read_now(messages.get, lost.message_id)
    assert row is not None
    assert row.status == Observation.DELIVERED


@pytest.mark.parametrize(
    ("error", "retry", "ending", "sure"),
    [
        (ErrorClass.TRANSIENT, 60, TERMINATED, True),
        (ErrorClass.AMBIGUOUS, 60, TERMINATED, False),
        (ErrorClass.PERMANENT, None, Ending("terminated", NOW, unclear=True), False),
        (ErrorClass.TRANSIENT, 60, Ending("terminated", NOW, unclear=True), True),
        (ErrorClass.TRANSIENT, -0.5, Ending("terminated", NOW, unclear=True), False),
        (ErrorClass.TRANSIENT, -0.5, Ending("timed out", NOW, attempting=True), False),
        (ErrorClass.TRANSIENT, -0.5, Ending("terminated", NOW), True),  # waits for its rate
    ],
)
def test_later_attempts_are_known_by_their_log(
    database: Database, error: ErrorClass, retry: float | None, ending: Ending, sure: bool
) -> None:
    it = message(new_message_id())
    log(database, it, error, retry)
    if error is ErrorClass.PERMANENT:
        sure = True  # refused for good: nothing came after it
        ending = Ending("terminated", NOW, unclear=True)
    closed = close(database, it, ending)
    if not sure:
        assert closed.retry_at is not None
        assert (
            close(database, it, ending, after=closed.retry_at.timestamp() - NOW.timestamp() - 1)
            == closed
        )
        closed = close(database, it, ending, after=WINDOW.total_seconds())
    found = problem(closed)
    assert (found.error_class is ErrorClass.PERMANENT) is sure
    assert "(131000) Something went wrong" in found.detail
    assert closed.record is not None
    assert closed.record.attempts == 1


def test_a_redriven_message_is_left_to_its_newer_run(database: Database) -> None:
    it = message(new_message_id())
    close(database, it)
    database.write_now(messages.begin_redrive, it.message_id, 1, [], NOW)
    assert database.read_now(ended.unrecorded, [it.message_id]) == {it.message_id}
    assert close(database, it) == Closed(), "the older run says nothing"
    row = database.read_now(messages.get, it.message_id)
    assert row is not None
    assert row.status is None, "it is in flight"
    newer = it.model_copy(update={"generation": 1})
    assert close(database, newer, Ending("terminated", NOW, attempting=True)).retry_at is not None
    found = problem(close(database, newer))
    assert found.error_class is ErrorClass.PERMANENT
    assert database.read_now(ended.unrecorded, [it.message_id]) == set()


def test_a_workflow_that_was_cancelled_is_a_cancelled_message(database: Database) -> None:
    it = message(new_message_id())
    closed = close(database, it, Ending("canceled", NOW))
    assert closed.record is not None
    assert (closed.record.observation, closed.record.problem) == (Observation.CANCELLED, None)
    doubtful = message(new_message_id())
    database.write_now(send_claims.claim, [(doubtful.message_id, "t")], NOW)
    assert problem(close(database, doubtful, Ending("canceled", NOW), after=60)).advice
