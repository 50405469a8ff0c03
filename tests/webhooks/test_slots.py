"""Slots of deliveries: endpoints that hang get few, and endpoints that answer find some free."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytake.webhooks.contracts import DeliveryWait
from pytake.webhooks.slots import QUICK, Slot, SlotLimits, Slots

LIMITS = SlotLimits(total=200, per_endpoint=10, per_tenant=40)
AT = datetime(2026, 11, 24, tzinfo=UTC)


def taken(slots: Slots, tenant: str, endpoint: str, now: float = 0) -> list[Slot]:
    """As many slots as the endpoint gets."""
    found: list[Slot] = []
    while isinstance(slot := slots.take(tenant, endpoint, AT, now), Slot):
        found.append(slot)
    return found


def prove(slots: Slots, tenant: str, endpoint: str, now: float = 0) -> None:
    for _ in range(4):
        slot = slots.take(tenant, endpoint, AT, now)
        assert isinstance(slot, Slot)
        slots.give_back(slot, now + 0.1, answered=True)


def hang(slots: Slots, tenant: str, endpoint: str, now: float, seconds: float = 15) -> None:
    slot = slots.take(tenant, endpoint, AT, now)
    assert isinstance(slot, Slot), slot
    slots.give_back(slot, now + seconds, answered=False)


def test_quick_answers_earn_slots_and_slow_ones_cost_them() -> None:
    slots = Slots(LIMITS)
    first = taken(slots, "t", "e")
    assert len(first) == 1, "nothing is known of it"
    slots.give_back(first[0], 0.1, answered=True)
    two = taken(slots, "t", "e")
    assert len(two) == 2
    for slot in two:
        slots.give_back(slot, 0.2, answered=True)
    many = taken(slots, "t", "e")
    assert len(many) == 8
    for slot in many:
        slots.give_back(slot, 0.3, answered=True)
    full = taken(slots, "t", "e")
    assert len(full) == LIMITS.per_endpoint
    slots.give_back(full[0], QUICK + 1, answered=True)
    slots.give_back(full[1], QUICK + 1, answered=True)
    for slot in full[2:]:
        slots.give_back(slot, 1, answered=None)
    assert len(taken(slots, "t", "e", 10)) == 2


def test_one_tenants_hanging_endpoints_leave_slots_to_others() -> None:
    slots = Slots(LIMITS)
    prove(slots, "bad", "own")
    held = [slot for index in range(100) for slot in taken(slots, "bad", f"e{index}")]
    assert len(held) == 30
    assert len(taken(slots, "bad", "own")) >= 5, "its own healthy ones keep a quarter of its share"
    prove(slots, "good", "e")
    assert len(taken(slots, "good", "e")) >= 5


@pytest.mark.parametrize("proven", [False, True])
def test_a_hundred_tenants_hanging_endpoints_leave_slots_to_others(proven: bool) -> None:
    """Those that answered until then hang with all they had: the last ones got less."""
    slots = Slots(LIMITS)
    for index in range(100):
        if proven:
            prove(slots, f"bad{index}", "e")
    for index in range(100):
        assert taken(slots, f"bad{index}", "e")
    assert taken(slots, "new", "e"), "one that nothing is known of finds a slot"
    prove(slots, "good", "e")
    assert taken(slots, "good", "e")


def test_new_hanging_endpoints_cannot_take_the_quarter_for_proven_ones() -> None:
    slots = Slots(LIMITS)
    prove(slots, "good", "e")
    held = [slot for index in range(1000) for slot in taken(slots, f"bad{index}", "e")]
    assert len(held) == 150
    assert taken(slots, "good", "e")


def test_the_breaker_opens_after_three_timeouts_for_longer_each_time() -> None:
    slots = Slots(LIMITS)
    now = 0.0
    for open_for in (0, 0, 30, 60, 120, 240, 480, 600, 600):
        hang(slots, "t", "e", now)
        now += 15
        if open_for:
            assert slots.take("t", "e", AT, now + open_for - 1) is DeliveryWait.BREAKER
            assert slots.wait("t", "e", 0, now) >= open_for
        now += open_for
    probe = taken(slots, "t", "e", now)
    assert len(probe) == 1
    assert slots.take("t", "e", AT, now) is DeliveryWait.BREAKER
    slots.give_back(probe[0], now + 0.1, answered=True)
    assert len(taken(slots, "t", "e", now)) == 2, "an answer closes it"


def test_concurrent_timeouts_count_as_one() -> None:
    slots = Slots(LIMITS)
    prove(slots, "t", "e")
    for slot in taken(slots, "t", "e"):
        slots.give_back(slot, 15, answered=False)
    assert len(taken(slots, "t", "e", 15)) == 1


def test_quick_failures_change_nothing() -> None:
    slots = Slots(LIMITS)
    prove(slots, "t", "e")
    for now in range(20):
        slot = slots.take("t", "e", AT, now)
        assert isinstance(slot, Slot)
        slots.give_back(slot, now + 0.2, answered=False)
        slot = slots.take("t", "e", AT, now)
        assert isinstance(slot, Slot)
        slots.give_back(slot, now + 5, answered=None)
    assert len(taken(slots, "t", "e", 20)) == 10


def test_a_changed_endpoint_is_called_at_once() -> None:
    slots = Slots(LIMITS)
    for now in (0, 20, 40):
        hang(slots, "t", "e", now)
    assert slots.take("t", "e", AT, 60) is DeliveryWait.BREAKER
    assert isinstance(slots.take("t", "e", AT + timedelta(seconds=1), 60), Slot)


def test_endpoints_with_the_same_id_are_separate_per_tenant() -> None:
    slots = Slots(LIMITS)
    for now in (0, 20, 40):
        hang(slots, "bad", "e", now)
    assert isinstance(slots.take("good", "e", AT, 60), Slot)


def test_waits_for_an_endpoint_that_does_not_answer_grow_long() -> None:
    slots = Slots(LIMITS)
    (running,) = taken(slots, "t", "e", 0)
    assert slots.patient("t", "e", 1.5), "a new endpoint may take as long as one that is known"
    assert not slots.patient("t", "e", QUICK)
    assert [slots.wait("t", "e", 0, now) for now in (1.5, QUICK)] == [5, 30]
    assert slots.wait("t", "e", 30, QUICK) == 300, "it has not let a request time out yet"
    slots.give_back(running, 0.1, answered=True)
    assert slots.patient("t", "e", 100)
    assert slots.wait("t", "e", 0, 100) == 5
    taken(slots, "t", "e", 200)
    assert slots.patient("t", "e", 202), "an endpoint that answers may take a little longer"
    assert not slots.patient("t", "e", 200 + QUICK)


def test_10_000_events_of_a_hanging_endpoint_retry_at_most_three_times_a_second() -> None:
    slots = Slots(LIMITS)
    for now in (0, 20, 40):
        hang(slots, "t", "e", now)
    waits = [slots.wait("t", "e", waits, 60) for waits in range(30)]
    assert waits == sorted(waits)
    assert 10_000 / waits[-1] < 3
    assert sum(waits[:6]) < 3 * waits[5], "about as long as it has waited"
    prove(slots, "good", "e")
    assert max(slots.wait("good", "e", waits, 60) for waits in range(30)) == 60


@settings(max_examples=50)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5), st.sampled_from([True, False, None])))
)
def test_no_more_than_the_limits_ever_run(steps: list[tuple[int, int, bool | None]]) -> None:
    limits = SlotLimits(total=8, per_endpoint=3, per_tenant=4)
    slots = Slots(limits)
    running: list[Slot] = []
    for now, (tenant, endpoint, answered) in enumerate(steps):
        slot = slots.take(f"t{tenant}", f"e{endpoint}", AT, now)
        if isinstance(slot, Slot):
            running.append(slot)
        elif running:
            slots.give_back(running.pop(0), now, answered=answered)
        assert len(running) <= limits.total
        for one in running:
            of_tenant = [other for other in running if other.tenant == one.tenant]
            assert len(of_tenant) <= limits.per_tenant
            assert sum(o.endpoint == one.endpoint for o in of_tenant) <= limits.per_endpoint
    for slot in running:
        slots.give_back(slot, len(steps), answered=True)
    assert isinstance(slots.take("new", "e", AT, 10**6), Slot)
