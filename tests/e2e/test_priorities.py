"""Priorities and rate: who waits for a number goes out in order of priority, at the number's rate."""

import asyncio

from tests.stack import EXAMPLE, Stack, eventually, fresh_recipient


async def test_critical_overtakes_low_and_the_rate_is_kept(stack: Stack) -> None:
    number = await stack.register(rate=2)
    batch = [
        {**EXAMPLE, "to": fresh_recipient(), "priority": "low", "phone_number_id": number}
        for _ in range(40)
    ]
    answer = await stack.api.post("/api/v1/queue/send/batch", json={"messages": batch})
    low = [item["message_id"] for item in answer.json()["results"]]
    critical = [
        (await stack.send(to=fresh_recipient(), priority="CRITICAL", phone_number_id=number))[
            "message_id"
        ]
        for _ in range(5)
    ]

    async def order() -> list[str]:
        accepted = await stack.accepted(phone_number_id=number)
        return [message["biz_opaque_callback_data"] for message in accepted]

    waiting = set(low) - set(await order())
    assert len(waiting) > 20, "most were gone before there was anything to overtake"

    async def all_critical() -> bool:
        return set(critical) <= set(await order())

    await eventually(all_critical, 60)
    sent = await order()
    before = sent[: max(map(sent.index, critical))]
    overtaken = waiting - set(before)
    # In the order they came, none would be. How many depends on the machine: a Low message that has its
    # turn already keeps it.
    assert len(overtaken) >= len(waiting) / 3, (len(waiting), sent)

    url = "/api/v1/queue/message/{}/cancel"
    await asyncio.gather(*(stack.api.post(url.format(message_id)) for message_id in overtaken))
    ended = {i: await stack.until(i, "cancelled", "sent", "delivered", "read") for i in overtaken}
    cancelled = {i for i, message in ended.items() if message["status"] == "cancelled"}
    sent = await order()
    assert sorted(sent) == sorted({*low, *critical} - cancelled), "each once, or cancelled"
    stats = (await stack.sandbox.get("/sandbox/stats")).json()
    assert stats["peak_per_second"][number] <= 2
    times = [m["received_at"] for m in await stack.accepted(phone_number_id=number)]
    assert (len(times) - 1) / (times[-1] - times[0]) >= 2 * 0.5
