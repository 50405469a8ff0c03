"""Slots of a number: every one is used once, by the most urgent message that waits; and no more calls
leave in a second than the number may make.
"""

import asyncio
import time

from activities.pacing import Passage, SlidingWindow, Slots


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


async def test_calls_are_counted_as_they_leave_however_long_the_way_to_the_socket_took() -> None:
    """An event loop that stalls behind the permission, before the writes, lets no more go in a second."""
    window, passages = SlidingWindow(), []
    left: list[float] = []

    async def send() -> None:
        passage = await window.enter("number", 5)
        passages.append(passage)
        await asyncio.sleep(0.3)  # the way to the socket
        passage.left()
        left.append(time.monotonic())

    first = [asyncio.create_task(send()) for _ in range(5)]
    await asyncio.sleep(0.1)
    time.sleep(1.2)  # noqa: ASYNC251 - the stall
    await asyncio.gather(*first, *(send() for _ in range(5)))
    assert len(left) == 10
    assert left[5] - left[4] >= 1, (
        "five left at once when the loop went on: a second for them alone"
    )


async def test_a_call_that_was_not_made_leaves_its_place_to_another() -> None:
    window = SlidingWindow()
    passages: list[Passage] = [await window.enter("number", 2) for _ in range(2)]
    third = asyncio.create_task(window.enter("number", 2))
    await asyncio.sleep(0.02)
    assert not third.done()
    passages[0].close(sent=False)
    await asyncio.wait_for(third, 0.5)
