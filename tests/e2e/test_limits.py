"""Limits and holds: throttling, halted accounts, messaging limit, customer service window."""

import asyncio
import time
from datetime import timedelta

import pytest

from pytake.numbers import store as numbers
from pytake.numbers.tables import PhoneNumber
from tests.callback.posting import envelope, post
from tests.stack import EXAMPLE, Stack, eventually, fresh_number, fresh_recipient


@pytest.fixture
def soon_probed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A number on hold is probed after two seconds, not five, and its queue moves every second."""
    monkeypatch.setattr(numbers, "probe_wait", lambda probes: timedelta(seconds=2 * 2**probes))
    monkeypatch.setattr(numbers, "HELD_WEIGHT", 1.0)


async def number_state(stack: Stack, number: str) -> dict[str, object]:
    listed = (await stack.api.get("/api/v1/whatsapp/numbers")).json()
    found: dict[str, object] = next(n for n in listed if n["phone_number_id"] == number)
    return found


async def test_throttling_halves_the_rate_spends_no_attempt_and_recovers(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numbers, "RECOVER_EVERY", timedelta(seconds=5))
    number = await stack.register(rate=40)
    await stack.fault("error", code=130429, count=1)
    sent = [
        await stack.send(to=fresh_recipient(), phone_number_id=number, max_attempts=1)
        for _ in range(5)
    ]
    await eventually(lambda: _is(stack, number, state="throttled", current_rate=20.0), 5)
    for message in sent:
        view = await stack.until(message["message_id"], "sent", "delivered", "read")
        assert view["attempts"] == 1
        await stack.accepted_once(message["message_id"])
    await eventually(lambda: _is(stack, number, state="throttled", current_rate=25.0), 15)
    limit = next(n for n in (await stack.stats())["numbers"] if n["phone_number_id"] == number)
    assert limit["current_rate"] == 25.0


async def _is(stack: Stack, number: str, **expected: object) -> bool:
    state = await number_state(stack, number)
    return all(state[name] == value for name, value in expected.items())


@pytest.mark.usefixtures("soon_probed")
async def test_an_expired_token_holds_the_number_and_nothing_is_lost(stack: Stack) -> None:
    number = await stack.register()
    await stack.fault("error", code=190)
    before = (await stack.sandbox.get("/sandbox/stats")).json()["rejected"].get("190", 0)
    sent = [
        await stack.send(to=fresh_recipient(), phone_number_id=number, max_attempts=1)
        for _ in range(30)
    ]
    await eventually(lambda: _is(stack, number, state="held", reason_code=190), 10)

    async def unasked() -> int:
        """The number of refused requests that were not probes."""
        probes = await stack.database.read(
            lambda session: session.get_one(PhoneNumber, number).probes
        )
        rejected = (await stack.sandbox.get("/sandbox/stats")).json()["rejected"]
        return int(rejected["190"]) - before - probes

    async def nothing_under_way() -> bool:
        """Whether calls that passed the gate before the hold have been answered."""
        first = await unasked()
        await asyncio.sleep(1.5)
        return await unasked() == first

    async def no_more() -> bool:
        return await unasked() == at_first <= 30

    await eventually(nothing_under_way)
    at_first = await unasked()
    await asyncio.sleep(3)
    await eventually(no_more, 5, lambda: "requests go out while the number is on hold")
    view = await stack.until(sent[-1]["message_id"], "held")
    assert view["error"]["code"] == 190
    assert "token" in view["error"]["advice"]
    stats = await stack.stats()
    assert stats["held"] >= 30
    limit = next(n for n in stats["numbers"] if n["phone_number_id"] == number)
    assert (limit["state"], limit["current_rate"]) == ("held", 0.0)
    alerts = (await stack.api.get("/api/v1/whatsapp/alerts")).json()
    assert [a["code"] for a in alerts if a["phone_number_id"] == number] == [190]
    await stack.clear_faults()
    resumed = await stack.api.post(f"/api/v1/whatsapp/numbers/{number}/resume")
    assert resumed.json()["state"] == "active"
    for message in sent:
        await stack.until(message["message_id"], "sent", "delivered", "read", seconds=40)
        await stack.accepted_once(message["message_id"])
    alerts = (await stack.api.get("/api/v1/whatsapp/alerts")).json()
    assert [a for a in alerts if a["phone_number_id"] == number] == []


@pytest.mark.usefixtures("soon_probed")
async def test_a_number_that_is_gone_is_held_and_no_message_fails(stack: Stack) -> None:
    number = await stack.register()
    await stack.fault("error", code=100, subcode=33)
    sent = await stack.send(to=fresh_recipient(), phone_number_id=number, max_attempts=1)
    await eventually(lambda: _is(stack, number, state="held", reason_code=100), 10)
    alerts = (await stack.api.get("/api/v1/whatsapp/alerts")).json()
    (alert,) = [a for a in alerts if a["phone_number_id"] == number]
    assert "access" in alert["title"]
    assert (await stack.until(sent["message_id"], "held"))["attempts"] == 0
    await stack.clear_faults()
    await stack.api.post(f"/api/v1/whatsapp/numbers/{number}/resume")
    await stack.until(sent["message_id"], "sent", "delivered", "read", seconds=40)


@pytest.mark.usefixtures("soon_probed")
async def test_a_probe_can_fail_alone_and_another_releases_the_number(
    stack: Stack,
) -> None:
    number, bad = await stack.register(), fresh_recipient()
    await stack.fault("error", code=190, count=1)
    await stack.fault("error", code=130497, to=bad)
    first = await stack.send(to=bad, phone_number_id=number, priority="Critical", max_attempts=1)
    await eventually(lambda: _is(stack, number, state="held"), 10)
    good = await stack.send(to=fresh_recipient(), phone_number_id=number, priority="Low")
    view = await stack.until(first["message_id"], "failed", seconds=30)
    assert (view["error"]["code"], view["attempts"]) == (130497, 1)
    await stack.until(good["message_id"], "sent", "delivered", "read", seconds=30)
    assert await _is(stack, number, state="active")


@pytest.mark.usefixtures("soon_probed")
async def test_a_probe_that_succeeds_releases_the_number(stack: Stack) -> None:
    number = await stack.register()
    await stack.fault("error", code=131042, count=1)
    sent = [await stack.send(to=fresh_recipient(), phone_number_id=number)]
    await eventually(lambda: _is(stack, number, state="held"), 10)
    sent += [await stack.send(to=fresh_recipient(), phone_number_id=number) for _ in range(3)]
    await eventually(lambda: _is(stack, number, state="active"), 40)
    for message in sent:
        await stack.until(message["message_id"], "sent", "delivered", "read", seconds=30)
        await stack.accepted_once(message["message_id"])


@pytest.mark.usefixtures("soon_probed")
async def test_a_number_is_paused_and_resumed_by_hand_in_priority_order(stack: Stack) -> None:
    number = await stack.register(rate=10)
    paused = await stack.api.post(f"/api/v1/whatsapp/numbers/{number}/pause")
    assert paused.json()["state"] == "paused"
    low = [
        (await stack.send(to=fresh_recipient(), phone_number_id=number, priority="Low"))[
            "message_id"
        ]
        for _ in range(15)
    ]
    high = [
        (await stack.send(to=fresh_recipient(), phone_number_id=number, priority="High"))[
            "message_id"
        ]
        for _ in range(5)
    ]
    await asyncio.sleep(2)
    assert await stack.accepted(phone_number_id=number) == []
    assert (await stack.message(low[0]))["status"] == "held"
    await stack.api.post(f"/api/v1/whatsapp/numbers/{number}/resume")
    for message_id in (*low, *high):
        await stack.until(message_id, "sent", "delivered", "read", seconds=30)
    order = [m["biz_opaque_callback_data"] for m in await stack.accepted(phone_number_id=number)]
    assert len(order) == 20
    overtakers = sum(order.index(h) < order.index(low[-1]) for h in high)
    assert overtakers == 5
    unknown = await stack.api.post(f"/api/v1/whatsapp/numbers/{fresh_number()}/pause")
    assert unknown.status_code == 404


async def test_50_of_60_new_recipients_are_sent_and_10_held(stack: Stack) -> None:
    number = await stack.register(rate=200, tier="TIER_50")
    await stack.sandbox.patch("/sandbox/limits", json={"throughput": 1000})
    recipients = [fresh_recipient() for _ in range(60)]
    items = [{**EXAMPLE, "to": to, "phone_number_id": number} for to in recipients]
    batch = await stack.api.post("/api/v1/queue/send/batch", json={"messages": items}, timeout=60)
    assert batch.json()["accepted"] == 60

    async def full() -> bool:
        limit = next(n for n in (await stack.stats())["numbers"] if n["phone_number_id"] == number)
        return bool(limit["used_24h"] == 50 and limit["remaining_24h"] == 0)

    await eventually(full, 60)
    ids = [result["message_id"] for result in batch.json()["results"]]

    async def held() -> list[str]:
        page = await stack.api.get(
            "/api/v1/queue/messages", params={"status": "held", "limit": 100}
        )
        assert page.status_code == 200, page.text
        return [v["message_id"] for v in page.json()["messages"] if v["phone_number_id"] == number]

    async def ten_held() -> bool:
        return len(await held()) == 10

    await eventually(ten_held, 60)
    accepted = await stack.accepted(phone_number_id=number)
    assert len(accepted) == len({m["to"] for m in accepted}) == 50
    assert (await stack.stats())["held"] == 10
    view = await stack.message((await held())[0])
    assert view["error"]["title"] == "tier_window_full"
    again = await stack.send(to=accepted[0]["to"], phone_number_id=number)
    await stack.until(again["message_id"], "sent", "delivered", "read")
    await stack.inbound(recipients[-1], number=number)
    report = {
        "metadata": {"phone_number_id": number},
        "event": "UPGRADE",
        "current_limit": "TIER_1K",
    }
    response = await post(stack, envelope(report, field="phone_number_quality_update"))
    assert response.status_code == 200
    for message_id in ids:
        await stack.until(message_id, "sent", "delivered", "read", seconds=60)
    assert len(await stack.accepted(phone_number_id=number)) == 61


async def test_free_form_outside_the_service_window_is_refused_at_once(stack: Stack) -> None:
    to = fresh_recipient()
    text = {"to": to, "message_type": "text", "content": {"body": "oi"}}
    refused = await stack.send(**text, expect=422)
    assert refused["code"] == 131047
    assert "template" in refused["detail"]
    tried = await stack.send(**text, check_window=False)
    await stack.until(tried["message_id"], "sent", "delivered", "read")
    # Meta may write the contact without the ninth digit: it is the same contact.
    await stack.inbound(to[:4] + to[5:])

    async def open_now() -> bool:
        return (
            await stack.api.post("/api/v1/queue/send", json={**EXAMPLE, **text})
        ).status_code == 202

    await eventually(open_now, 10)


async def test_free_form_that_meta_refuses_is_a_dead_letter_with_advice(stack: Stack) -> None:
    await stack.sandbox.patch("/sandbox/limits", json={"customer_service_window": True})
    sent = await stack.send(
        to=fresh_recipient(), message_type="text", content={"body": "oi"}, check_window=False
    )
    view = await stack.until(sent["message_id"], "failed")
    assert view["error"]["code"] == 131047


async def test_a_message_that_outlives_its_validity_is_a_dead_letter(stack: Stack) -> None:
    from datetime import UTC, datetime, timedelta

    number = await stack.register()
    await stack.api.post(f"/api/v1/whatsapp/numbers/{number}/pause")
    started = time.monotonic()
    sent = await stack.send(
        to=fresh_recipient(),
        phone_number_id=number,
        expires_at=(datetime.now(UTC) + timedelta(seconds=3)).isoformat(),
    )
    view = await stack.until(sent["message_id"], "failed", seconds=60)
    assert time.monotonic() - started >= 3
    assert view["error"]["error_class"] == "expired"
    assert await stack.accepted(biz_opaque_callback_data=sent["message_id"]) == []
