"""Statuses in the database: the SQL follows the status machine, on both databases."""

import itertools
from datetime import datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytake.database.engine import Database
from pytake.messages import claims as send_claims
from pytake.messages import receipts
from pytake.messages import store as messages
from pytake.messages.contracts import (
    OutcomeRecord,
    Problem,
    new_message_id,
)
from pytake.messages.status import META_STATUSES, RANK, Observation, advance
from pytake.messages.tables import Message
from pytake.whatsapp.errors import ErrorClass
from tests.messages.samples import NOW, TENANTS, message, receipt

from_meta = st.sampled_from(list(META_STATUSES.values()))


def record(
    message_id: str, wamid: str, seen: Observation = Observation.ACCEPTED, **more: object
) -> OutcomeRecord:
    problem = (
        Problem(error_class=ErrorClass.PERMANENT, title="x") if seen is Observation.DEAD else None
    )
    return OutcomeRecord(
        message=message(message_id, **more),  # type: ignore[arg-type]  # generation and superseded
        observation=seen,
        at=NOW,
        wamid=wamid or None,
        attempts=1,
        problem=problem,
    )


def get(database: Database, message_id: str) -> Message:
    row = database.read_now(messages.get, message_id)
    assert row is not None
    return row


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(st.lists(from_meta, min_size=1, max_size=5), max_size=6),
    st.integers(0, 6),
    st.booleans(),
)
def test_any_order_of_statuses_and_our_record_ends_in_the_same_status(
    database: Database, requests: list[list[Observation]], when: int, with_id: bool
) -> None:
    message_id, wamid = new_message_id(), new_message_id()
    state: Observation | None = None
    rank = 0
    for index, request in enumerate([*requests, []]):
        if index == min(when, len(requests)):
            database.write_now(messages.record_outcome, record(message_id, wamid))
            state = advance(state, Observation.ACCEPTED)
        batch = [receipt(wamid, seen, message_id if with_id else None) for seen in request]
        database.write_now(receipts.apply, batch, TENANTS, NOW)
        for seen in request:
            state = advance(state, seen)
        row = database.read_now(messages.get, message_id) or database.read_now(
            messages.get, messages.orphan_id(wamid)
        )
        if row is not None:
            assert row.status_rank >= rank
            rank = row.status_rank
    row = get(database, message_id)
    assert row.recorded
    assert row.status == state
    assert row.status_rank == RANK[Observation(row.status or "")]
    seen_all = set(itertools.chain.from_iterable(requests))
    assert (row.read_at is not None) == (Observation.READ in seen_all)
    assert database.read_now(messages.get, messages.orphan_id(wamid)) is None


def test_the_first_time_of_a_status_is_kept(database: Database) -> None:
    message_id, wamid = new_message_id(), new_message_id()
    database.write_now(messages.record_outcome, record(message_id, wamid))
    for seconds in (5, 3, 9):
        database.write_now(
            receipts.apply, [receipt(wamid, Observation.SENT, message_id, seconds)], TENANTS, NOW
        )
    assert get(database, message_id).sent_at == NOW + timedelta(seconds=3)


def test_a_repeat_changes_no_row(database: Database) -> None:
    batch = [receipt(f"w{i}", Observation.READ, new_message_id()) for i in range(5)]
    assert len(database.write_now(receipts.apply, batch, TENANTS, NOW)) == 5
    assert database.write_now(receipts.apply, batch, TENANTS, NOW + timedelta(hours=1)) == []


def test_receipts_of_an_earlier_run_do_not_change_a_redriven_message(
    database: Database,
) -> None:
    message_id = new_message_id()
    old, new = f"old{message_id}", f"new{message_id}"
    database.write_now(messages.record_outcome, record(message_id, old))
    database.write_now(receipts.apply, [receipt(old, Observation.FAILED, message_id)], TENANTS, NOW)
    assert get(database, message_id).error_code == 131026
    database.write_now(messages.begin_redrive, message_id, 1, [old], NOW)
    row = get(database, message_id)
    assert (row.status, row.wamid, row.error_code) == (None, None, None)
    database.write_now(receipts.apply, [receipt(old, Observation.READ, message_id)], TENANTS, NOW)
    assert get(database, message_id).status is None
    database.write_now(receipts.apply, [receipt(new, Observation.SENT, message_id)], TENANTS, NOW)
    database.write_now(
        messages.record_outcome, record(message_id, new, generation=1, superseded=[old])
    )
    row = get(database, message_id)
    assert (row.status, row.wamid, row.generation) == ("sent", new, 1)


def test_a_late_receipt_revives_a_dead_letter(database: Database) -> None:
    message_id, wamid = new_message_id(), new_message_id()
    database.write_now(messages.record_outcome, record(message_id, "", Observation.DEAD))
    assert get(database, message_id).status == "dead"
    database.write_now(
        receipts.apply, [receipt(wamid, Observation.DELIVERED, message_id)], TENANTS, NOW
    )
    row = get(database, message_id)
    assert (row.status, row.wamid) == ("delivered", wamid)
    database.write_now(messages.record_outcome, record(message_id, "", Observation.DEAD))
    assert get(database, message_id).status == "delivered"


def test_only_a_logged_transient_failure_is_certain_not_to_have_sent(database: Database) -> None:
    request = message(new_message_id()).request()
    lost = Problem(error_class=ErrorClass.AMBIGUOUS, title="lost")
    harmless = Problem(error_class=ErrorClass.TRANSIENT, title="refused")

    def doubt(attempt: int, seconds: int) -> datetime | None:
        at = NOW + timedelta(seconds=seconds)
        return database.write_now(messages.doubtful_since, request, attempt, at, lost)

    database.write_now(messages.log_attempt, request, 1, NOW, harmless, None)
    database.write_now(messages.log_attempt, request, 2, NOW, lost, None)
    assert doubt(1, 5) is None
    assert doubt(2, 5) == NOW
    assert doubt(3, 5) == NOW + timedelta(seconds=5), "no log: its worker was killed"
    assert doubt(3, 9) == NOW + timedelta(seconds=5)
    logged = database.read_now(messages.attempts_of, request.message_id)
    assert [row.error_title for row in logged] == ["refused", "lost", "lost"]


@pytest.mark.parametrize("generation", [0, 1])
def test_an_unlogged_further_attempt_is_known_to_have_begun(
    database: Database, generation: int
) -> None:
    """Its worker was killed: a cancel before the next one begins looks for its receipt."""
    request = message(new_message_id(), generation).request()
    harmless = Problem(error_class=ErrorClass.TRANSIENT, title="refused")

    def begin(seconds: int) -> None:
        at = NOW + timedelta(seconds=seconds)
        database.write_now(send_claims.begin, [(request.message_id, "t")], at)

    def begun() -> int:
        return database.read_now(messages.attempts_begun, request)

    assert begun() == 0
    begin(0)
    assert begun() == 1
    database.write_now(messages.log_attempt, request, 1, NOW + timedelta(seconds=1), harmless, None)
    assert begun() == 1
    begin(3)
    assert begun() == 2
    database.write_now(send_claims.release, [request.message_id])
    assert begun() == 1, "it was not posted"


def test_the_schema_is_what_the_migrations_make(database: Database) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext
    from sqlmodel import SQLModel

    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": False})
        assert compare_metadata(context, SQLModel.metadata) == []
    assert database.pending_migration() is None
