"""What the queue shows of its messages: states, the list, figures; and health."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio.client import WorkflowHandle

from tests.stack import Stack, eventually, fresh_recipient


def in_seconds(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


async def test_a_terminated_workflow_is_shown_as_failed_with_the_reason(stack: Stack) -> None:
    sent = await stack.send(to=fresh_recipient(), scheduled_for=in_seconds(3600))
    await stack.client.get_workflow_handle(sent["message_id"]).terminate("by hand")
    view = await stack.until(sent["message_id"], "failed")
    assert "outside" in view["error"]["title"]


async def test_a_page_of_the_list_does_not_query_each_message(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = datetime.now(UTC).isoformat()
    slow, paused = await stack.register(rate=0.2), await stack.register()
    await stack.api.post(f"/api/v1/whatsapp/numbers/{paused}/pause")
    failing, paired, hanging = (fresh_recipient() for _ in range(3))
    await stack.fault("error", code=131016, to=failing)
    await stack.fault("error", code=131056, to=paired)
    sent = {
        "scheduled": await stack.send(to=fresh_recipient(), scheduled_for=in_seconds(600)),
        "held by its number": await stack.send(to=fresh_recipient(), phone_number_id=paused),
        "held": await stack.send(to=paired),
        "retrying": await stack.send(to=failing),
        "sent": await stack.send(to=fresh_recipient(), phone_number_id=slow),
        "pending": await stack.send(to=fresh_recipient(), phone_number_id=slow),
    }
    await stack.until(sent["sent"]["message_id"], "sent", "delivered", "read")
    await stack.fault("latency", seconds=2.5, to=hanging, count=1)
    sent["processing"] = await stack.send(to=hanging)
    await stack.until(sent["processing"]["message_id"], "processing")
    asked: list[str] = []
    describe = WorkflowHandle.describe

    async def counted(handle: Any, **options: Any) -> Any:
        asked.append(handle.id)
        return await describe(handle, **options)

    monkeypatch.setattr(WorkflowHandle, "describe", counted)
    seen: dict[str, dict[str, Any]] = {}

    async def listed() -> bool:
        params = {"since": began, "limit": "100"}
        page = (await stack.api.get("/api/v1/queue/messages", params=params)).json()
        by_id = {item["message_id"]: item for item in page["messages"]}
        seen.update({name: by_id.get(body["message_id"], {}) for name, body in sent.items()})
        wanted = {name: name.split()[0] for name in sent if name != "sent"}
        return wanted == {name: seen[name].get("status") for name in wanted}

    await eventually(listed, 10, lambda: f"{[(n, v.get('status')) for n, v in seen.items()]}")
    assert asked == []
    assert seen["sent"]["status"] in ("sent", "delivered", "read")
    assert seen["retrying"]["error"]["code"] == 131016
    assert seen["retrying"]["next_retry_at"] > seen["retrying"]["last_attempt_at"]
    assert seen["held"]["error"]["title"] == "pair_limit"
    assert seen["held"]["next_retry_at"]
    assert seen["processing"]["attempts"] == 1
    await stack.clear_faults()
    for name in ("scheduled", "held by its number", "held", "retrying", "pending"):
        await stack.api.post(f"/api/v1/queue/message/{sent[name]['message_id']}/cancel")


async def test_unknown_messages_are_404(stack: Stack) -> None:
    for method, path in (("GET", ""), ("POST", "/cancel"), ("POST", "/retry")):
        response = await stack.api.request(method, f"/api/v1/queue/message/msg_unknown{path}")
        assert response.status_code == 404, path
    patched = await stack.api.patch(
        "/api/v1/queue/message/msg_unknown", json={"scheduled_for": in_seconds(60)}
    )
    assert patched.status_code == 404
    assert (await stack.api.get("/api/v1/queue/message/number-1")).status_code == 404


async def test_the_figures_count_each_message_once(stack: Stack) -> None:
    number = await stack.register(rate=0.5)
    before: dict[str, Any] = {}

    async def quiet() -> bool:
        """Visibility lags: messages of the test before may still be counted as running."""
        before.update(await stack.stats())
        return not any(
            before[name] for name in ("pending_total", "scheduled", "processing", "retrying")
        )

    await eventually(quiet, 30, lambda: f"never quiet: {before}")
    for priority in ("Critical", "Low", "Low", "Normal", "Normal", "Normal"):
        await stack.send(to=fresh_recipient(), priority=priority, phone_number_id=number)
    scheduled = [
        await stack.send(to=fresh_recipient(), scheduled_for=in_seconds(600)) for _ in range(2)
    ]
    failing = fresh_recipient()
    await stack.fault("error", code=131016, to=failing)
    retried = [await stack.send(to=failing) for _ in range(2)]

    seen: dict[str, Any] = {}

    async def counted() -> bool:
        now = await stack.stats()
        seen.update(now)
        waiting = now["pending_total"] + now["processing"] - before["pending_total"]
        return (
            now["scheduled"] - before["scheduled"] == 2
            and now["retrying"] == 2
            and 3 <= waiting <= 6
            and now["pending_by_priority"]["Low"] >= 2
            and sum(now["pending_by_priority"].values()) == now["pending_total"]
        )

    await eventually(counted, 10, lambda: f"{seen} after {before}")
    for message in (*scheduled, *retried):
        await stack.api.post(f"/api/v1/queue/message/{message['message_id']}/cancel")

    async def settled() -> bool:
        now = await stack.stats()
        return (
            now["cancelled"] - before["cancelled"] == 4
            and now["scheduled"] == before["scheduled"]
            and now["read"] - before["read"] == 6
            and now["pending_total"] == now["processing"] == now["retrying"] == 0
        )

    await eventually(settled, 30)
    limit = next(n for n in (await stack.stats())["numbers"] if n["phone_number_id"] == number)
    assert limit == {
        "phone_number_id": number,
        "state": "active",
        "tier": "TIER_UNLIMITED",
        "daily_limit": None,
        "used_24h": 6,
        "remaining_24h": None,
        "messages_per_second": 0.5,
        "current_rate": 0.5,
    }


async def test_health_names_the_failing_part(stack: Stack) -> None:
    assert (await stack.api.get("/health/live")).json() == {"status": "live"}
    assert (await stack.api.get("/health/ready")).json() == {"status": "ready", "failing": {}}
