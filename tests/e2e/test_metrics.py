"""Insights for a known mix of messages, a number of falling quality, and while Meta is unavailable."""

import asyncio
import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, update
from sqlmodel import Session, col

from pytake.access import keys
from pytake.clock import now
from pytake.messages.tables import Message
from pytake.numbers.tables import Alert
from pytake.webhooks.event_types import EventType
from tests.hooks import configure, tenant
from tests.receiver import Receiver
from tests.stack import Stack, eventually, fresh_recipient
from workflows.schedules import DAYS_SCHEDULE, HEALTH_SCHEDULE, PRUNE_SCHEDULE

READ, DELIVERED, FAILED_LATE, REFUSED = 60, 20, 10, 10


async def get(
    stack: Stack, path: str, number: str, expect: int = 200, language: str = "en", **params: Any
) -> Any:
    response = await stack.api.get(
        f"/api/v1/whatsapp/{path}",
        params={"phone_number_id": number, **params},
        headers={"Accept-Language": language},
    )
    assert response.status_code == expect, response.text
    return response.json()


async def set_number(stack: Stack, number: str, **fields: Any) -> None:
    response = await stack.sandbox.patch(f"/sandbox/numbers/{number}", json=fields)
    assert response.status_code == 200, response.text


@pytest.fixture
async def meta(stack: Stack) -> Any:
    """Switches Meta's management calls; back to normal afterwards."""

    async def switch(**fields: Any) -> None:
        response = await stack.sandbox.patch("/sandbox/management", json=fields)
        assert response.status_code == 200, response.text

    yield switch
    await switch(down=False, token_expired=False, call_count=1, regain_minutes=0)


async def send_many(stack: Stack, number: str, owner: str, count: int) -> list[str]:
    template = {"name": "pytake_saudacao", "language": "pt_BR"}
    messages = [
        {
            "to": fresh_recipient(),
            "message_type": "template",
            "content": template,
            "phone_number_id": number,
            "tenant_id": owner,
        }
        for _ in range(count)
    ]
    response = await stack.api.post("/api/v1/queue/send/batch", json={"messages": messages})
    assert response.json()["accepted"] == count
    return [item["message_id"] for item in response.json()["results"]]


def recorded(session: Session, ids: list[str]) -> int:
    statement = select(func.count()).where(col(Message.id).in_(ids), col(Message.recorded))
    return session.scalars(statement).one()


@pytest.fixture(autouse=True)
async def _no_older_alerts(stack: Stack) -> None:
    """Alerts of the account, which other tests of this stack raised, are on every board."""
    await stack.database.write(_end_alerts)


def _end_alerts(session: Session) -> None:
    session.execute(update(Alert).where(col(Alert.ended_at).is_(None)).values(ended_at=now()))


async def test_every_figure_for_a_known_mix_of_messages(stack: Stack) -> None:
    owner = tenant()
    number = await stack.register(tenant=owner, tier="TIER_10K")
    await set_number(stack, number, messaging_limit="TIER_10K", status="CONNECTED")
    ids: dict[str, list[str]] = {}

    async def phase(name: str, count: int, **fault: Any) -> None:
        if fault:
            await stack.fault(count=count, **fault)
        ids[name] = await send_many(stack, number, owner, count)

        async def settled() -> bool:
            return await stack.database.read(recorded, ids[name]) == count

        await eventually(settled, 60)
        await stack.clear_faults()

    started = now()
    await phase("refused", REFUSED, kind="error", code=132001)
    await phase("failed", FAILED_LATE, kind="status_failed", code=131026)
    await phase("delivered", DELIVERED, kind="status_unread")
    await phase("read", READ)
    for _ in range(5):
        await stack.inbound(fresh_recipient(), "oi", number)

    async def counted() -> bool:
        total = (await get(stack, "analytics", number))["total"]
        return bool(total["read"] == READ and total["failed"] == 20 and total["received"] == 5)

    await eventually(counted, 60)
    await asyncio.sleep(0.5)
    found = await get(stack, "analytics", number, refresh=True)
    own = {"sent": 90, "delivered": 80, "read": 60, "failed": 20, "received": 5}
    assert found["total"] == own
    assert found["rates"] == {"delivery": 0.8889, "read": 0.75, "failure": 0.2}
    assert found["meta_total"] == {"sent": 90, "delivered": 80}
    assert found["difference"] == {"sent": 0, "delivered": 0}
    assert [p["own"] for p in found["periods"] if p["own"]["sent"]] == [
        own
    ] or started.date() != now().date()
    assert len(found["periods"]) == 7
    assert found["categories"] == [
        {
            "category": "MARKETING",
            "own_delivered": 80,
            "meta_volume": 80,
            "meta_cost": 5.0,
            "difference": 0,
        }
    ]
    (template,) = found["templates"]
    assert (template["name"], template["own"]) == ("pytake_saudacao", {**own, "received": 0})
    assert template["meta"]["sent"] >= 90  # the account's other numbers send it too
    assert [(f["code"], f["count"]) for f in found["failures"]] == [(131026, 10), (132001, 10)]
    assert all(f["advice"] for f in found["failures"])
    delivery, reading = found["time_to_delivery"], found["time_to_read"]
    assert 0 < delivery["median_seconds"] <= delivery["p95_seconds"] < 30
    assert delivery["median_seconds"] < reading["median_seconds"] <= reading["p95_seconds"] < 30
    hourly = await get(stack, "analytics", number, granularity="hour", days=2)
    assert (len(hourly["periods"]), hourly["total"]) == (48, own)
    assert sum(p["own"]["read"] for p in hourly["periods"]) == 60

    limits = await get(stack, "limits", number)
    assert (limits["tier"], limits["daily_limit"], limits["used"], limits["remaining"]) == (
        "TIER_10K",
        10_000,
        90,
        9910,
    )
    frees = datetime.fromisoformat(limits["next_frees_at"])
    assert started < frees - timedelta(hours=24) < now()
    assert (limits["messages_per_second_allowed"], limits["messages_per_second_current"]) == (
        80,
        80,
    )
    assert limits["throttling"] is None
    step = limits["next_tier"]
    assert (step["tier"], step["needed"], step["reached"], step["eligible"]) == (
        "TIER_100K",
        5000,
        80,
        True,
    )

    quality = await get(stack, "quality", number)
    assert quality["quality_rating"] == "GREEN"
    assert [(f["kind"], f["severity"]) for f in quality["risk_factors"]] == [
        ("failures", "critical")
    ]
    assert (
        quality["risk_factors"][0]["title"]
        == "20 of 100 messages failed in the last 7 days (20.0%)"
    )
    health = await get(stack, "health", number)
    assert (health["health_score"], health["quality_rating"], health["verified_name"]) == (
        100,
        "GREEN",
        "PyTake Sandbox",
    )
    board = await get(stack, "dashboard", number)
    assert board["last_7_days"] == own
    assert board["comparison"]["today"] == own or started.date() != now().date()
    assert board["comparison"]["change"] == dict.fromkeys(own)
    (overview,) = board["overview"]
    assert (overview["health_score"], overview["used_24h"], overview["pending"]) == (100, 90, 0)
    assert board["alerts"] == []
    assert board["recommendations"] == [quality["risk_factors"][0]["advice"]]
    for name, status in (("read", "read"), ("delivered", "delivered"), ("refused", "failed")):
        assert (await stack.message(ids[name][0]))["status"] == status
    numbers = (await stack.api.get("/api/v1/whatsapp/numbers")).json()
    (mine,) = [n for n in numbers if n["phone_number_id"] == number]
    assert (mine["quality_rating"], mine["health_score"]) == ("GREEN", 100)


async def test_a_number_that_turns_red_raises_an_alert_and_an_event(
    stack: Stack, receiver: Receiver
) -> None:
    owner = tenant()
    number = await stack.register(tenant=owner, tier="TIER_1K")
    await set_number(stack, number, messaging_limit="TIER_1K")
    url = receiver.script(f"/quality/{owner}", 200)
    await configure(stack, owner, url, events=["number.*"])
    assert (await get(stack, "health", number))["quality_rating"] == "GREEN"
    blocked = {
        "can_send_message": "LIMITED",
        "entities": [
            {
                "entity_type": "PHONE_NUMBER",
                "id": number,
                "can_send_message": "LIMITED",
                "errors": [
                    {
                        "error_code": 141010,
                        "error_description": "Low quality",
                        "possible_solution": "Wait",
                    }
                ],
            }
        ],
    }
    await set_number(
        stack,
        number,
        quality_rating="RED",
        messaging_limit="TIER_10K",
        status="FLAGGED",
        health_status=blocked,
    )
    health = await get(stack, "health", number, language="pt-BR,en;q=0.5", refresh=True)
    assert health["health_score"] == 0
    assert {part["key"]: part["points"] for part in health["score_parts"]} == {
        "quality": 60,
        "status": 30,
        "sending": 25,
    }
    assert health["score_parts"][0]["title"] == "A qualidade do número está VERMELHA"
    assert health["entities"][0]["errors"] == [
        {"code": 141010, "description": "Low quality", "solution": "Wait"}
    ]

    board = await get(stack, "dashboard", number, language="pt")
    assert {a["kind"]: a["severity"] for a in board["alerts"]} == {
        "quality_red": "critical",
        "status": "critical",
        "sending": "warning",
    }
    assert "O status do número é FLAGGED" in [a["title"] for a in board["alerts"]]

    async def told() -> bool:
        return len(receiver.received[f"/quality/{owner}"]) >= 4

    await eventually(told, 20)
    events = [json.loads(r.body) for r in receiver.received[f"/quality/{owner}"]]
    assert {
        (e["type"], e["data"]["reason"], e["data"]["before"], e["data"]["after"]) for e in events
    } == {
        (EventType.NUMBER_QUALITY_CHANGED, "quality_rating", "GREEN", "RED"),
        (EventType.NUMBER_QUALITY_CHANGED, "status", "CONNECTED", "FLAGGED"),
        (EventType.NUMBER_QUALITY_CHANGED, "can_send_message", "AVAILABLE", "LIMITED"),
        (EventType.NUMBER_LIMIT_CHANGED, "messaging_limit", "TIER_1K", "TIER_10K"),
    }
    quality = await get(stack, "quality", number)
    changed = {(c["field"], c["before"], c["after"]) for c in quality["history"]}
    assert ("quality_rating", "GREEN", "RED") in changed
    assert quality["recommendations"][0].startswith("Stop marketing templates now")
    limits = await get(stack, "limits", number)
    assert limits["next_tier"]["eligible"] is False
    assert "RED" in limits["next_tier"]["text"]

    await set_number(
        stack,
        number,
        quality_rating="GREEN",
        status="CONNECTED",
        health_status={"can_send_message": "AVAILABLE", "entities": []},
    )
    assert (await get(stack, "health", number, refresh=True))["health_score"] == 100
    assert (await get(stack, "dashboard", number))["alerts"] == []


async def test_with_meta_unavailable_the_last_data_is_shown_with_its_age(
    stack: Stack, meta: Any
) -> None:
    number = await stack.register()
    unknown = await stack.register()
    before = await get(stack, "health", number)
    await meta(down=True)
    after = await get(stack, "health", number, refresh=True)
    assert {**after, "data": None} == {**before, "data": None}
    assert after["data"]["stale"] is True
    assert after["data"]["fetched_at"] == before["data"]["fetched_at"]
    assert after["data"]["age_seconds"] >= before["data"]["age_seconds"]
    assert after["data"]["problem"]["title"] == "Meta could not be reached"
    board = await get(stack, "dashboard", number, language="pt-BR")
    assert [a["kind"] for a in board["alerts"]] == ["stale"]
    missing = await get(stack, "health", unknown, expect=503)
    assert "Meta could not be reached" in missing["detail"]
    await meta(down=False, token_expired=True)
    after = await get(stack, "health", number, refresh=True)
    assert (after["data"]["problem"]["code"], after["data"]["problem"]["title"]) == (
        190,
        "Meta refused the access token",
    )
    missing = await get(stack, "health", unknown, expect=503)
    assert missing["code"] == 190
    analytics = await get(stack, "analytics", unknown)
    assert (analytics["meta_total"], analytics["data"]["fetched_at"]) == (None, None)
    assert analytics["total"]["sent"] == 0
    await meta(token_expired=False)
    assert (await get(stack, "health", number, refresh=True))["data"]["problem"] is None


async def test_metas_budget_of_calls_is_respected(stack: Stack, meta: Any) -> None:
    number = await stack.register()
    await meta(call_count=97, regain_minutes=30)
    first = await get(stack, "health", number)
    assert first["quality_rating"] == "GREEN"  # this answer said that it was the last for now
    await set_number(stack, number, quality_rating="RED")
    await meta(call_count=1, regain_minutes=0)
    second = await get(stack, "health", number, refresh=True)
    assert second["quality_rating"] == "GREEN"
    assert second["data"]["problem"]["title"] == "Meta's budget of management calls is used up"


async def test_invalid_queries_are_refused_by_field(stack: Stack) -> None:
    number = await stack.register()
    for params, field in (
        ({"days": 0}, "days"),
        ({"days": 91}, "days"),
        ({"start": "2026-13-01"}, "start"),
        ({"start": "2026-02-02", "end": "2026-02-01"}, "start"),
        ({"end": "2099-01-01"}, "end"),
        ({"granularity": "week"}, "granularity"),
        ({"granularity": "hour", "days": 30}, "granularity"),
        ({"start": "2025-01-01", "end": "2025-12-31"}, "start"),
    ):
        problem = await get(stack, "analytics", number, expect=422, **params)
        assert problem["errors"][0]["field"].endswith(field), problem
    for path in ("health", "analytics", "quality", "limits", "dashboard"):
        await get(stack, path, "999", expect=404)


async def test_the_schedules_are_there(stack: Stack) -> None:
    for schedule in (HEALTH_SCHEDULE, DAYS_SCHEDULE, PRUNE_SCHEDULE):
        description = await stack.client.get_schedule_handle(schedule).describe()
        assert description.schedule.state.paused  # by the settings of the tests
        handle = stack.client.get_schedule_handle(schedule)
        await handle.trigger()

        async def ran(handle: Any = handle) -> bool:
            return bool((await handle.describe()).info.recent_actions)

        await eventually(ran, 20)


async def test_a_tenant_sees_only_its_own_counts_of_a_shared_number(stack: Stack) -> None:
    shared = stack.settings.whatsapp.phone_number_id
    await stack.until((await stack.send(to=fresh_recipient()))["message_id"], "read")
    everybody = await get(stack, "analytics", shared, refresh=True)
    assert everybody["meta_total"]["sent"] > 0
    guest = tenant()
    await stack.share(guest)
    key, text = await stack.database.write(
        keys.create, tenant_id=guest, admin=False, name="k", now=now()
    )
    try:
        response = await stack.api.get(
            "/api/v1/whatsapp/analytics", headers={"Authorization": f"Bearer {text}"}
        )
        found = response.json()
        assert (found["phone_number_id"], found["total"]["sent"]) == (shared, 0)
        assert (found["meta_total"], found["templates"], found["categories"]) == (None, [], [])
    finally:
        await stack.database.write(keys.revoke, key.id, now())
