"""First tasks of scheduled messages: a rush is spread, and none comes too late."""

from pytake.first_tasks import FirstTasks

DAYS = 2 * 24 * 3600.0


def test_a_few_messages_wait_for_nothing() -> None:
    tasks = FirstTasks()
    assert [tasks.delay(DAYS) for _ in range(20)] == [0.0] * 20


def test_a_rush_is_spread_to_ten_a_second() -> None:
    tasks = FirstTasks()
    delays = [tasks.delay(DAYS) for _ in range(10_000)]
    assert 900 < max(delays) <= 1000
    for second in range(0, 900, 50):
        assert sum(second <= delay < second + 1 for delay in delays) <= 30


def test_what_is_due_within_a_minute_waits_for_nothing_behind_a_rush() -> None:
    tasks = FirstTasks()
    for _ in range(10_000):
        tasks.delay(DAYS)
    assert tasks.delay(59) == 0.0


def test_a_rush_due_soon_is_spread_over_the_time_there_is() -> None:
    tasks = FirstTasks()
    delays = [tasks.delay(300) for _ in range(10_000)]
    assert max(delays) <= 240
    assert sum(delay > 200 for delay in delays) < 3000
    assert tasks.delay(DAYS) < 250, "those that do not fit in take no turn of others"
