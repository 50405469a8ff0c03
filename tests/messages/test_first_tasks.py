"""Delays of the first tasks of scheduled messages: a burst delays nothing that is due."""

import asyncio

import pytest

from pytake.messages.first_tasks import FirstTasks

DAYS = 2 * 24 * 3600.0


def test_the_first_few_messages_are_not_delayed() -> None:
    tasks = FirstTasks()
    assert [tasks.delay(DAYS) for _ in range(20)] == [0.0] * 20


@pytest.mark.parametrize("ahead", [DAYS, 300.0, 30.0])
def test_a_burst_does_not_delay_messages_that_are_due(ahead: float) -> None:
    tasks = FirstTasks()
    delays = [tasks.delay(ahead) for _ in range(10_000)]
    assert delays.count(0.0) < 30
    assert set(delays) == {0.0, ahead - 5}, "a little before its time, for what a start takes"


def test_a_message_already_due_is_not_delayed() -> None:
    tasks = FirstTasks()
    for _ in range(100):
        tasks.delay(DAYS)
    assert tasks.delay(-0.1) == 0.0


async def test_messages_due_soon_do_not_wait_for_the_starts_of_a_burst() -> None:
    tasks = FirstTasks()
    async with tasks.turn(DAYS), tasks.turn(DAYS):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05), tasks.turn(DAYS):
                pass
        async with asyncio.timeout(1), tasks.turn(59):
            pass
    async with asyncio.timeout(1), tasks.turn(DAYS):
        pass
