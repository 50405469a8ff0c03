"""First tasks of scheduled messages: those of a rush come when they are due, and none too late."""

import asyncio

import pytest

from pytake.messages.first_tasks import FirstTasks

DAYS = 2 * 24 * 3600.0


def test_a_few_messages_wait_for_nothing() -> None:
    tasks = FirstTasks()
    assert [tasks.delay(DAYS) for _ in range(20)] == [0.0] * 20


@pytest.mark.parametrize("ahead", [DAYS, 300.0, 30.0])
def test_a_rush_puts_nothing_before_what_is_due(ahead: float) -> None:
    tasks = FirstTasks()
    delays = [tasks.delay(ahead) for _ in range(10_000)]
    assert delays.count(0.0) < 30
    assert set(delays) == {0.0, ahead - 5}, "a little before its time, for what a start takes"


def test_what_is_due_while_it_is_accepted_waits_for_nothing() -> None:
    tasks = FirstTasks()
    for _ in range(100):
        tasks.delay(DAYS)
    assert tasks.delay(-0.1) == 0.0


async def test_starts_of_what_is_due_soon_do_not_queue_behind_those_of_a_rush() -> None:
    tasks = FirstTasks()
    async with tasks.turn(DAYS), tasks.turn(DAYS):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05), tasks.turn(DAYS):
                pass
        async with asyncio.timeout(1), tasks.turn(59):
            pass
    async with asyncio.timeout(1), tasks.turn(DAYS):
        pass
