"""The gate: no limit is exceeded, whatever the number of workers."""

import threading
from datetime import UTC, datetime, timedelta

import pytest

from pytake.contacts import opt_outs
from pytake.conversations import inbox
from pytake.conversations.inbound import Inbound
from pytake.database.engine import Database
from pytake.messages import gate as admission
from pytake.messages.gate import Admission, Candidate, Process
from pytake.numbers import store as numbers
from pytake.numbers.rate_parts import GRACE, MEMORY
from pytake.whatsapp.errors import ERRORS
from tests.stack import fresh_number, fresh_recipient

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
LEASE = timedelta(seconds=30)
ONE = Process("one", {})


def number(database: Database, tier: str = "TIER_UNLIMITED", rate: float = 80) -> str:
    number_id = fresh_number()
    database.write_now(
        numbers.register,
        number_id,
        tenant_id="t",
        portfolio_id=f"p{number_id}",
        rate=rate,
        tier=tier,
    )
    return number_id


def admit(
    database: Database, number_id: str, *contacts: str, now: datetime = NOW, counts: bool = True
) -> list[Admission]:
    batch = [Candidate(number_id, "t", contact, counts) for contact in contacts]
    return database.write_now(admission.admit, batch, now, LEASE, ONE)


def test_eight_concurrent_workers_never_exceed_the_tier(database: Database) -> None:
    number_id = number(database, tier="TIER_50", rate=1000)
    admitted: list[Admission] = []
    lock = threading.Lock()

    def work() -> None:
        for _ in range(5):
            decisions = admit(database, number_id, fresh_recipient(), fresh_recipient())
            with lock:
                admitted.extend(decisions)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(admitted) == 80
    assert sum(decision.send_at is not None for decision in admitted) == 50
    assert {decision.reason for decision in admitted if decision.send_at is None} == {
        "tier_window_full"
    }
    slots = sorted(decision.send_at for decision in admitted if decision.send_at)
    assert len(set(slots)) == 50, "no two calls share a slot"


def test_the_window_rolls(database: Database) -> None:
    number_id = number(database, tier="TIER_50")
    recipients = [fresh_recipient() for _ in range(50)]
    for index, recipient in enumerate(recipients):
        assert admit(database, number_id, recipient, now=NOW + timedelta(minutes=index))[0].send_at
    later = NOW + timedelta(hours=23)
    full = admit(database, number_id, fresh_recipient(), now=later)[0]
    assert (full.reason, full.until) == ("tier_window_full", NOW + timedelta(hours=24))
    assert admit(database, number_id, recipients[3], now=later)[0].send_at, "counted already"
    freed = admit(
        database,
        number_id,
        fresh_recipient(),
        fresh_recipient(),
        now=NOW + timedelta(hours=24, seconds=1),
    )
    assert [decision.send_at is not None for decision in freed] == [True, False]


def test_contacts_in_their_service_window_and_free_form_do_not_count(database: Database) -> None:
    number_id = number(database, tier="TIER_50")
    recipients = [fresh_recipient() for _ in range(60)]
    inbound = [
        Inbound(f"w{r}", number_id, r, r, None, None, "text", {}, NOW - timedelta(hours=1))
        for r in recipients
    ]
    database.write_now(inbox.store_inbound, inbound, {number_id: "t"}, NOW)
    for start in range(0, 60, 20):
        decisions = admit(database, number_id, *recipients[start : start + 20])
        assert all(decision.send_at for decision in decisions)
    free_form = admit(
        database,
        number_id,
        *(fresh_recipient() for _ in range(60)),
        counts=False,
        now=NOW + timedelta(seconds=2),
    )
    assert all(decision.send_at for decision in free_form)
    assert database.read_now(numbers.window_used, f"p{number_id}", NOW - timedelta(days=1)) == 0


def test_calls_are_spaced_under_the_rate(database: Database) -> None:
    number_id = number(database, rate=10)
    decisions = admit(database, number_id, *(fresh_recipient() for _ in range(80)))
    slots = [decision.send_at for decision in decisions if decision.send_at]
    for first, eleventh in zip(slots, slots[10:], strict=False):
        assert eleventh - first > timedelta(seconds=1)
    assert {d.reason for d in decisions if d.send_at is None} == {"pace"}


def test_a_refused_recipient_is_uncounted_unless_another_message_counts(database: Database) -> None:
    number_id, recipient = number(database, tier="TIER_50"), fresh_recipient()
    first = admit(database, number_id, recipient)[0]
    assert first.counted_at == NOW
    admit(database, number_id, recipient, now=NOW + timedelta(seconds=1))
    database.write_now(admission.uncount, number_id, recipient, NOW)
    assert database.read_now(numbers.window_used, f"p{number_id}", NOW - timedelta(days=1)) == 1
    other = fresh_recipient()
    admit(database, number_id, other, now=NOW + timedelta(seconds=2))
    database.write_now(admission.uncount, number_id, other, NOW + timedelta(seconds=2))
    assert database.read_now(numbers.window_used, f"p{number_id}", NOW - timedelta(days=1)) == 1


def test_a_held_number_lets_one_probe_through_at_a_time(database: Database) -> None:
    number_id = number(database)
    database.write_now(numbers.hold, number_id, ERRORS[190], NOW)
    assert [d.send_at for d in admit(database, number_id, "a", "b")] == [None, None]
    due = NOW + timedelta(seconds=6)
    decisions = admit(database, number_id, "a", "b", now=due)
    assert [(d.send_at is not None, d.probe) for d in decisions].count((True, True)) == 1
    assert admit(database, number_id, "c", now=due)[0].send_at is None
    database.write_now(numbers.hold, number_id, ERRORS[190], due)
    assert admit(database, number_id, "c", now=due + timedelta(seconds=6))[0].send_at is None, (
        "backed off"
    )
    assert admit(database, number_id, "c", now=due + timedelta(seconds=11))[0].probe
    lost = due + timedelta(seconds=11) + LEASE
    assert admit(database, number_id, "d", now=lost)[0].probe, "the probe's worker died"


def test_a_probe_that_fails_for_its_own_message_makes_way_for_another_at_once(
    database: Database,
) -> None:
    number_id, due = number(database), NOW + timedelta(seconds=6)
    database.write_now(numbers.hold, number_id, ERRORS[190], NOW)
    assert admit(database, number_id, "a", now=due)[0].probe
    assert not admit(database, number_id, "b", now=due)[0].probe
    database.write_now(numbers.end_probe, number_id, due, again=True)
    assert admit(database, number_id, "b", now=due)[0].probe
    database.write_now(numbers.end_probe, number_id, due, again=False)
    assert not admit(database, number_id, "c", now=due + timedelta(seconds=9))[0].probe
    assert admit(database, number_id, "c", now=due + timedelta(seconds=11))[0].probe


def test_a_throttled_probe_ends_and_the_number_stays_held(
    database: Database,
) -> None:
    number_id, due = number(database), NOW + timedelta(seconds=6)
    database.write_now(numbers.hold, number_id, ERRORS[190], NOW)
    assert admit(database, number_id, "a", now=due)[0].probe
    row = database.write_now(numbers.throttle, number_id, due)
    assert row is not None
    assert (row.state, row.current_rate, row.reason_code) == ("held", 80, 190)
    assert not admit(database, number_id, "b", now=due + timedelta(seconds=9))[0].probe
    assert admit(database, number_id, "b", now=due + timedelta(seconds=11))[0].probe


def test_concurrent_throttled_calls_halve_the_rate_once(database: Database) -> None:
    number_id = number(database, rate=80)
    for milliseconds in range(0, 1000, 50):
        row = database.write_now(
            numbers.throttle, number_id, NOW + timedelta(milliseconds=milliseconds)
        )
    assert row is not None
    assert (row.state, row.current_rate) == ("throttled", 40)
    row = database.write_now(numbers.throttle, number_id, NOW + timedelta(seconds=3))
    assert row is not None
    assert row.current_rate == 20
    early = database.write_now(numbers.recover, number_id, NOW + timedelta(seconds=5))
    assert early is not None
    assert early.current_rate == 20
    at = NOW + timedelta(seconds=3)
    for _ in range(10):
        at += timedelta(seconds=10)
        row = database.write_now(numbers.recover, number_id, at)
    assert row is not None
    assert (row.state, row.current_rate) == ("active", 80)


def direct(database: Database, number_id: str, *claims: str) -> list[Admission]:
    batch = [
        Candidate(number_id, "t", fresh_recipient(), counts=True, claim=claim, direct=True)
        for claim in claims
    ]
    return database.write_now(admission.admit, batch, NOW, LEASE, ONE)


def test_a_direct_send_that_would_wait_is_refused_and_its_recipient_not_counted(
    database: Database,
) -> None:
    number_id = number(database, tier="TIER_50", rate=10)
    decisions = direct(database, number_id, *(fresh_recipient() for _ in range(3)))
    assert [d.send_at is not None for d in decisions] == [True, False, False]
    assert decisions[1].reason == "pace"
    used = database.read_now(numbers.window_used, f"p{number_id}", NOW - timedelta(hours=24))
    assert used == 1


def test_only_one_of_many_concurrent_claims_succeeds(database: Database) -> None:
    number_id = number(database, rate=1000)
    message_id = f"msg-{fresh_recipient()}"
    found: list[Admission] = []
    lock = threading.Lock()

    def work() -> None:
        decisions = direct(database, number_id, message_id)
        with lock:
            found.extend(decisions)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([d for d in found if d.send_at is not None]) == 1
    assert len([d for d in found if d.claimed_at == NOW]) == 7


def test_a_message_twice_in_a_batch_is_claimed_once(database: Database) -> None:
    number_id, message_id = number(database, rate=1000), f"msg-{fresh_recipient()}"
    decisions = direct(database, number_id, message_id, message_id)
    assert [d.send_at is not None for d in decisions] == [True, False]
    assert decisions[1].claimed_at == NOW


def test_a_number_on_hold_lets_no_direct_send_through(database: Database) -> None:
    number_id = number(database)
    database.write_now(numbers.pause, number_id, NOW, "by hand")
    (decision,) = direct(database, number_id, fresh_recipient())
    assert decision.send_at is None
    assert decision.until is None


def test_an_opt_out_on_a_shared_number_applies_to_all_tenants(
    database: Database,
) -> None:
    shared, own, contact = number(database), number(database), fresh_recipient()
    database.write_now(
        opt_outs.opt_out, "t", contact, NOW, phone_number_id=shared, source="message"
    )
    guest, other = (Candidate(shared, "guest", c, True) for c in (contact, fresh_recipient()))
    service = Candidate(shared, "guest", contact, False)
    cleared = Candidate(shared, "guest", contact, True, cleared=True)
    decisions = database.write_now(
        admission.admit, [guest, other, service, cleared], NOW, LEASE, ONE
    )
    assert [decision.opted_out for decision in decisions] == [True, False, False, False]
    (owner,) = admit(database, own, contact)
    assert owner.opted_out, "a tenant's opt-out is of all its numbers"
    database.write_now(opt_outs.opt_in, "t", contact, NOW, phone_number_id=shared)
    (decision,) = database.write_now(admission.admit, [guest], NOW, LEASE, ONE)
    assert decision.send_at is not None


def test_a_tenants_opt_outs_apply_on_a_shared_number(database: Database) -> None:
    shared, contact, name = number(database), fresh_recipient(), f"g{fresh_number()}"
    database.write_now(opt_outs.opt_out, name, contact, NOW, phone_number_id="9", source="message")
    (decision,) = database.write_now(
        admission.admit, [Candidate(shared, name, contact, True)], NOW, LEASE, ONE
    )
    assert decision.opted_out
    (decision,) = admit(database, shared, contact)
    assert not decision.opted_out, "the owner was not told"


def slots(
    database: Database, number_id: str, process: Process, at: timedelta, count: int
) -> list[Admission]:
    """The gate's decisions for a process that wants to make ``count`` calls."""
    batch = [Candidate(number_id, "t", fresh_recipient(), counts=False) for _ in range(count)]
    return database.write_now(admission.admit, batch, NOW + at, LEASE, process)


def told(decisions: list[Admission]) -> tuple[int, timedelta]:
    """The calls a second that the process may make, and from when, relative to ``NOW``."""
    part = decisions[-1].part
    assert part is not None
    return part.calls, timedelta(seconds=max(part.since - NOW.timestamp(), 0))


def test_a_single_worker_has_the_whole_rate_however_late_it_is(database: Database) -> None:
    number_id, seconds = number(database, rate=10), timedelta(seconds=1)
    for index in range(6):
        keeps = {number_id: 10 if index else 0}
        decisions = slots(database, number_id, Process("a", keeps), index * 3 * seconds, 10)
        assert told(decisions) == (10, timedelta(0))
        assert decisions[0].send_at == NOW + index * 3 * seconds


def test_a_second_worker_waits_until_the_first_keeps_to_half_the_rate(database: Database) -> None:
    number_id, second = number(database, rate=10), timedelta(seconds=1)
    slots(database, number_id, Process("a", {}), 0 * second, 10)
    (joined,) = slots(database, number_id, Process("b", {}), 0.1 * second, 1)
    calls, since = told([joined])
    last = NOW.timestamp() + 9 * 0.105
    assert calls == 5
    assert since.total_seconds() == pytest.approx(last + GRACE + MEMORY - NOW.timestamp())
    assert joined.send_at == NOW + since
    # The first is given half, and the second waits until the first reports that it keeps to it.
    a = slots(database, number_id, Process("a", {number_id: 10}), 0.2 * second, 1)
    assert told(a) == (5, timedelta(0))
    assert (
        told(slots(database, number_id, Process("b", {number_id: 5}), 0.3 * second, 1))[1] == since
    )
    # A lost response changes nothing: the first still reports the whole rate.
    slots(database, number_id, Process("a", {number_id: 10}), 0.35 * second, 1)
    b = slots(database, number_id, Process("b", {number_id: 5}), 0.36 * second, 1)
    assert told(b)[1] == since
    slots(database, number_id, Process("a", {number_id: 5}), 0.4 * second, 1)
    (moved,) = slots(database, number_id, Process("b", {number_id: 5}), 0.5 * second, 1)
    assert told([moved])[0] == 5
    assert told([moved])[1].total_seconds() == pytest.approx(0.4 + MEMORY)
    assert moved.send_at is not None
    assert moved.send_at < NOW + since, "its next slots move with it"


def test_the_replacement_of_a_dead_worker_gets_its_part_of_the_rate(database: Database) -> None:
    number_id, second = number(database, rate=10), timedelta(seconds=1)
    slots(database, number_id, Process("dead", {}), 0 * second, 5)
    new = slots(database, number_id, Process("new", {}), 0.2 * second, 2)
    calls, since = told(new)
    assert calls == 5
    gone = 4 * 0.105 + GRACE + MEMORY
    assert since.total_seconds() == pytest.approx(gone)
    keeps = {number_id: 5}
    for after, allowed in ((-0.05, 5), (0.05, 10)):
        at = (gone + after) * second
        decisions = slots(database, number_id, Process("new", keeps), at, 2)
        assert told(decisions)[0] == allowed


def test_workers_that_send_rarely_do_not_wait_for_each_other(database: Database) -> None:
    number_id, second = number(database, rate=10), timedelta(seconds=1)
    slots(database, number_id, Process("a", {}), 0 * second, 1)
    slots(database, number_id, Process("b", {}), 20 * second, 1)
    keeps = {number_id: 5}
    slots(database, number_id, Process("a", keeps), 21 * second, 1)
    for index in range(10):
        at = (40 + index) * second
        (decision,) = slots(database, number_id, Process("ab"[index % 2], keeps), at, 1)
        assert decision.send_at == NOW + at
    # A process with more work than its part takes what is idle.
    busy = slots(database, number_id, Process("a", keeps), 60 * second, 20)
    assert told(busy)[0] == 10


@pytest.mark.parametrize("who", ["a", "b"])
def test_a_clock_an_hour_ahead_blocks_a_number_for_at_most_a_minute(
    database: Database, who: str
) -> None:
    number_id, second = number(database, rate=10), timedelta(seconds=1)
    slots(database, number_id, Process("a", {}), 3600 * second, 1)
    (stopped,) = slots(database, number_id, Process(who, {}), 0 * second, 1)
    assert stopped.reason == "pace"
    (freed,) = slots(database, number_id, Process(who, {}), 63 * second, 1)
    assert freed.send_at == NOW + 63 * second


def test_with_more_workers_than_calls_a_second_only_some_send(database: Database) -> None:
    number_id, second = number(database, rate=1), timedelta(seconds=1)
    assert told(slots(database, number_id, Process("a", {}), 0 * second, 1))[0] == 1
    (none,) = slots(database, number_id, Process("b", {}), 1 * second, 1)
    assert (none.send_at, none.reason) == (None, "pace")
    (taken,) = slots(database, number_id, Process("b", {}), 4 * second, 1)
    assert taken.send_at == NOW + 4 * second, "the other is gone"


def test_a_part_of_the_rate_can_be_requested_without_a_slot(database: Database) -> None:
    number_id = number(database, rate=10)
    wants = Candidate(number_id, "t", "x", counts=False, has_slot=True)
    (answer,) = database.write_now(admission.admit, [wants], NOW, LEASE, ONE)
    assert answer.send_at is None
    assert told([answer])[0] == 10
    assert admit(database, number_id, fresh_recipient())[0].send_at == NOW
