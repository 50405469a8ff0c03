"""Slots of a number: every one is used once, by the most urgent message that waits."""

import asyncio

from activities.pacing import Slots


async def test_the_most_urgent_takes_the_next_slot() -> None:
    slots, order = Slots(), []

    async def send(name: str, delay: float, urgency: int) -> None:
        await slots.turn("number", delay, urgency)
        order.append(name)

    waiting = [asyncio.create_task(send(f"low {n}", 0.05 * (n + 1), 4)) for n in range(3)]
    await asyncio.sleep(0)
    waiting.append(asyncio.create_task(send("critical", 0.2, 1)))
    await asyncio.gather(*waiting)
    assert order == ["critical", "low 0", "low 1", "low 2"]


async def test_a_message_that_gave_up_leaves_its_slot_to_another() -> None:
    slots, order = Slots(), []

    async def send(name: str, delay: float) -> None:
        await slots.turn("number", delay, 3)
        order.append(name)

    first = asyncio.create_task(send("first", 0.05))
    second = asyncio.create_task(send("second", 60))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait_for(second, 1)
    assert order == ["second"]


async def test_numbers_do_not_wait_for_each_other() -> None:
    slots = Slots()
    slow = asyncio.create_task(slots.turn("slow", 60, 1))
    await asyncio.sleep(0)
    await asyncio.wait_for(slots.turn("fast", 0, 4), 1)
    slow.cancel()
