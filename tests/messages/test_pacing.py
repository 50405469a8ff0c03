"""Slots of a number: every one is used once, by the most urgent message that waits; and no more calls
leave in a second than the number may make.
"""

import asyncio
import time

from pytake.messages.pacing import Passage, SlidingWindow, Slots
from pytake.numbers.rate_parts import RatePart


def window_of(calls: int, *, since: float = 0.0, lasting: float = 60.0) -> SlidingWindow:
    """A window whose part of the rate is good for so many seconds, ``since`` so many from now."""
    window, now = SlidingWindow(), time.monotonic()
    window.set_part("number", RatePart(calls, 1.05, since, lasting), now)
    return window


async def no() -> bool:
    return False


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


async def test_a_cancelled_message_leaves_its_slot_to_another() -> None:
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


async def test_calls_are_counted_when_they_are_written() -> None:
    """If the event loop stalls between admission and write, the rate is still kept."""
    window, passages = window_of(5), []
    left: list[float] = []

    async def send() -> None:
        passage = await window.enter("number", no)
        assert passage is not None
        passages.append(passage)
        await asyncio.sleep(0.3)  # the way to the socket
        passage.mark_written()
        left.append(time.monotonic())

    first = [asyncio.create_task(send()) for _ in range(5)]
    await asyncio.sleep(0.1)
    time.sleep(1.2)  # noqa: ASYNC251 - the stall
    await asyncio.gather(*first, *(send() for _ in range(5)))
    assert len(left) == 10
    assert left[5] - left[4] >= 1, (
        "five left at once when the loop went on: a second for them alone"
    )


async def test_a_call_that_is_not_made_frees_its_place() -> None:
    window = window_of(2)
    passages: list[Passage | None] = [await window.enter("number", no) for _ in range(2)]
    third = asyncio.create_task(window.enter("number", no))
    await asyncio.sleep(0.02)
    assert not third.done()
    assert passages[0] is not None
    passages[0].close(sent=False)
    await asyncio.wait_for(third, 0.5)


async def test_a_smaller_part_applies_to_calls_admitted_before() -> None:
    """The part may shrink while a call is connecting."""
    window = window_of(4)
    passages = [await window.enter("number", no) for _ in range(4)]
    window.set_part("number", RatePart(2, 0.3, 0.0, 60.0), time.monotonic())
    assert window.keeps("number") == 2
    left: list[float] = []

    async def write(passage: Passage | None) -> None:
        assert passage is not None
        assert await passage.may_write()
        left.append(time.monotonic())

    await asyncio.gather(*map(write, passages))
    assert [round(at - left[0], 1) >= 0.3 for at in left] == [False, False, True, True]


async def test_no_call_is_made_before_the_part_begins() -> None:
    window, started = window_of(5, since=0.2), time.monotonic()
    assert await window.enter("number", no)
    assert time.monotonic() - started >= 0.2


async def test_a_part_that_lapsed_during_a_stall_is_renewed() -> None:
    window, asked = window_of(1, lasting=0.1), []

    async def renew() -> bool:
        asked.append(True)
        window.set_part("number", RatePart(1, 1.05, 0.0, 60.0), time.monotonic())
        return True

    passage = await window.enter("number", renew)
    assert passage is not None
    assert not asked
    time.sleep(0.2)  # noqa: ASYNC251 - the stall
    assert await passage.may_write()
    assert asked == [True], "the part lapsed while the call was on its way"


async def test_a_call_whose_part_is_gone_is_not_made() -> None:
    window = window_of(1, lasting=0.05)
    passage = await window.enter("number", no)
    assert passage is not None
    await asyncio.sleep(0.1)
    assert not await passage.may_write()
    assert await window.enter("number", no) is None
