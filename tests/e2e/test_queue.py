"""The queue: priorities, rate, cancelling, scheduling, rescheduling, statistics."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio.client import WorkflowHandle
from temporalio.common import SearchAttributePair, TypedSearchAttributes, WorkflowIDReusePolicy

from pytake.contacts.hashing import ContactHashes
from pytake.messages import store as messages
from pytake.messages.accept import Acceptor
from pytake.messages.content import MessageType
from pytake.messages.contracts import SCHEDULED_WORKFLOW, MessageInput, MessageMemo, new_message_id
from pytake.messages.start import start_message
from pytake.numbers.choice import NumberChoice
from pytake.temporal.attributes import MEMO_MESSAGE, TENANT
from pytake.webhooks.dispatch import Dispatcher
from tests.stack import EXAMPLE, Stack, eventually, fresh_recipient


def in_seconds(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


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


async def test_a_scheduled_message_is_sent_on_time(stack: Stack) -> None:
    at = datetime.now(UTC) + timedelta(seconds=3)
    sent = await stack.send(to=fresh_recipient(), scheduled_for=at.isoformat())
    assert sent["status"] == "scheduled"
    view = await stack.message(sent["message_id"])
    assert view["status"] == "scheduled"
    assert datetime.fromisoformat(view["scheduled_for"]) == at
    await stack.until(sent["message_id"], "read")
    drift = (await stack.accepted_once(sent["message_id"]))["received_at"] - at.timestamp()
    assert 0 <= drift < 5


async def test_a_scheduled_message_can_be_rescheduled_and_cancelled(stack: Stack) -> None:
    sent = await stack.send(to=fresh_recipient(), scheduled_for=in_seconds(3600))
    url = f"/api/v1/queue/message/{sent['message_id']}"
    later = datetime.now(UTC) + timedelta(days=2)
    moved = await stack.api.patch(url, json={"scheduled_for": later.isoformat()})
    assert moved.status_code == 200
    assert datetime.fromisoformat(moved.json()["scheduled_for"]) == later
    assert datetime.fromisoformat(moved.json()["expires_at"]) > later
    cancelled = await stack.api.post(f"{url}/cancel")
    assert (cancelled.status_code, cancelled.json()["status"]) == (200, "cancelled")
    view = await stack.message(sent["message_id"])
    assert view["status"] == "cancelled"
    assert (await stack.api.post(f"{url}/cancel")).status_code == 200
    assert (await stack.api.patch(url, json={"scheduled_for": in_seconds(60)})).status_code == 409
    assert await stack.accepted(biz_opaque_callback_data=sent["message_id"]) == []


async def test_a_rescheduled_message_goes_out_at_its_new_time(stack: Stack) -> None:
    sent = await stack.send(to=fresh_recipient(), scheduled_for=in_seconds(3600))
    soon = in_seconds(2)
    moved = await stack.api.patch(
        f"/api/v1/queue/message/{sent['message_id']}", json={"scheduled_for": soon}
    )
    assert moved.status_code == 200
    await stack.until(sent["message_id"], "read", seconds=10)
    assert (await stack.accepted_once(sent["message_id"]))["received_at"] >= datetime.fromisoformat(
        soon
    ).timestamp()


async def test_a_queued_message_is_cancelled_before_it_is_sent(stack: Stack) -> None:
    number = await stack.register(rate=0.5)
    ids = [
        (await stack.send(to=fresh_recipient(), phone_number_id=number))["message_id"]
        for _ in range(4)
    ]
    view = await stack.until(ids[-1], "pending")
    assert view["attempts"] == 0
    cancelled = await stack.api.post(f"/api/v1/queue/message/{ids[-1]}/cancel")
    assert cancelled.status_code == 200
    for message_id in ids[:-1]:
        await stack.until(message_id, "sent", "delivered", "read")
    assert await stack.accepted(biz_opaque_callback_data=ids[-1]) == []
    assert (await stack.message(ids[-1]))["status"] == "cancelled"


async def test_a_retrying_message_is_cancelled(stack: Stack) -> None:
    to = fresh_recipient()
    await stack.fault("error", code=131016, to=to)
    sent = await stack.send(to=to)

    async def second_attempt() -> bool:
        return (await stack.message(sent["message_id"]))["attempts"] >= 2

    await eventually(second_attempt)
    cancelled = await stack.api.post(f"/api/v1/queue/message/{sent['message_id']}/cancel")
    assert cancelled.status_code == 200
    await stack.clear_faults()
    await asyncio.sleep(3)  # the third would come after two
    assert await stack.accepted(biz_opaque_callback_data=sent["message_id"]) == []
    assert (await stack.message(sent["message_id"]))["status"] == "cancelled"


@pytest.mark.parametrize("by", ["api", "web ui"])
async def test_a_cancel_during_a_failing_attempt_takes_effect(stack: Stack, by: str) -> None:
    """The attempt has started and waits for its slot; after a cancel Temporal does not retry it."""
    message_id = await _failing_later(stack, 131016)
    if by == "api":
        cancelled = await stack.api.post(f"/api/v1/queue/message/{message_id}/cancel")
        assert cancelled.status_code == 200, cancelled.text
    else:
        await stack.client.get_workflow_handle(message_id).cancel()
    view = await stack.until(message_id, "cancelled", "failed")
    assert (view["status"], view["attempts"]) == ("cancelled", 1)
    assert await stack.accepted(biz_opaque_callback_data=message_id) == []


async def test_a_cancel_in_the_web_ui_ends_a_message_that_was_about_to_wait(stack: Stack) -> None:
    message_id = await _failing_later(stack, 131056)
    await stack.client.get_workflow_handle(message_id).cancel()
    await stack.until(message_id, "cancelled", seconds=10)


async def _failing_later(stack: Stack, code: int) -> str:
    """A message whose attempt has started, and will fail with a code when its slot comes."""
    number, to = await stack.register(rate=0.5), fresh_recipient()
    await stack.fault("error", code=code, to=to, count=1)
    await stack.send(to=fresh_recipient(), phone_number_id=number)
    message_id: str = (await stack.send(to=to, phone_number_id=number))["message_id"]
    await stack.until(message_id, "processing")
    return message_id


@pytest.mark.parametrize("sent", [True, False])
async def test_a_cancel_after_an_attempt_without_an_answer_waits_for_its_receipt(
    stack: Stack, *, sent: bool
) -> None:
    to = fresh_recipient()
    if not sent:
        await stack.fault("status_withhold", to=to)
    await stack.fault("drop_after", to=to)
    message_id = (await stack.send(to=to))["message_id"]

    async def attempted() -> bool:
        return bool(await stack.accepted(biz_opaque_callback_data=message_id))

    await eventually(attempted)
    late = await stack.api.post(f"/api/v1/queue/message/{message_id}/cancel")
    assert late.status_code == 409, late.text
    if sent:
        await stack.until(message_id, "read")
    else:
        view = await stack.message(message_id)
        assert (view["status"], view["error"]["error_class"]) == ("failed", "ambiguous")
    await stack.accepted_once(message_id)


async def test_a_message_being_sent_is_not_cancelled(stack: Stack) -> None:
    to = fresh_recipient()
    await stack.fault("latency", seconds=1.5, to=to, count=1)
    sent = await stack.send(to=to)
    await stack.until(sent["message_id"], "processing")
    late = await stack.api.post(f"/api/v1/queue/message/{sent['message_id']}/cancel")
    assert late.status_code == 409
    assert "too late" in late.json()["detail"]
    await stack.until(sent["message_id"], "read")
    again = await stack.api.post(f"/api/v1/queue/message/{sent['message_id']}/cancel")
    assert again.status_code == 409
    await stack.accepted_once(sent["message_id"])


async def test_cancelling_the_workflow_in_the_web_ui_is_a_cancel(stack: Stack) -> None:
    to = fresh_recipient()
    await stack.fault("error", code=131016, to=to)
    sent = await stack.send(to=to)
    await stack.until(sent["message_id"], "retrying")
    await stack.client.get_workflow_handle(sent["message_id"]).cancel()
    await stack.until(sent["message_id"], "cancelled")
    row = await stack.api.get(
        "/api/v1/queue/messages", params={"recipient": to, "status": "cancelled"}
    )
    assert [m["message_id"] for m in row.json()["messages"]] == [sent["message_id"]]


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


async def test_a_redriven_message_has_the_rate_of_its_number(stack: Stack) -> None:
    number = await stack.register(rate=7)
    await stack.fault("error", code=131026, count=1)
    message_id = (await stack.send(to=fresh_recipient(), phone_number_id=number))["message_id"]
    await stack.until(message_id, "failed")
    response = await stack.api.post(f"/api/v1/queue/message/{message_id}/retry")
    assert response.status_code == 202
    await stack.until(message_id, "sent", "delivered", "read")
    history = await stack.client.get_workflow_handle(message_id).fetch_history()
    begun = history.events[0].workflow_execution_started_event_attributes.input.payloads
    (message,) = await stack.client.data_converter.decode(begun, [MessageInput])
    assert (message.generation, message.messages_per_second) == (1, 7)


async def test_two_concurrent_redrives_send_a_message_once(stack: Stack) -> None:
    """The second, in another process, comes to start its run when the first one's is over."""
    await stack.fault("error", code=131026, count=1)
    message_id = (await stack.send(to=fresh_recipient()))["message_id"]
    await stack.until(message_id, "failed")
    row = await stack.database.read(messages.get, message_id)
    hashes, choice = (
        ContactHashes(stack.database),
        NumberChoice(stack.database, stack.settings.whatsapp),
    )
    dispatcher = Dispatcher(stack.client, stack.database)
    acceptor = Acceptor(stack.client, stack.database, dispatcher, choice, hashes, stack.settings)
    for _ in range(2):
        await acceptor.redrive(row)
        result = await stack.client.get_workflow_handle(message_id).result()
        assert result["status"] in ("accepted", "sent", "delivered", "read")
    await stack.accepted_once(message_id)


async def in_an_hour(stack: Stack) -> MessageInput:
    return MessageInput(
        message_id=new_message_id(),
        tenant_id="default",
        phone_number_id=await stack.register(),
        recipient=fresh_recipient(),
        message_type=MessageType.TEMPLATE,
        content={"name": "pytake_saudacao", "language": "pt_BR"},
        created_at=datetime.now(UTC),
        scheduled_for=datetime.now(UTC) + timedelta(hours=1),
        expires_at=datetime.now(UTC) + timedelta(hours=2),
        messages_per_second=80,
        send_timeout_seconds=3,
        receipt_wait_seconds=2,
    )


async def delayed(stack: Stack) -> str:
    """A scheduled message whose first task is delayed, as in a burst."""
    message = await in_an_hour(stack)
    reuse = WorkflowIDReusePolicy.REJECT_DUPLICATE
    await start_message(stack.client, message, "contact", reuse, timedelta(hours=1))
    return message.message_id


async def test_a_message_with_a_delayed_start_can_be_rescheduled_and_cancelled_at_once(
    stack: Stack,
) -> None:
    cancelled, moved = await delayed(stack), await delayed(stack)
    assert (await stack.message(cancelled))["status"] == "scheduled"
    response = await stack.api.post(f"/api/v1/queue/message/{cancelled}/cancel")
    assert (response.status_code, response.json()["status"]) == (200, "cancelled")
    assert (await stack.message(cancelled))["status"] == "cancelled"
    response = await stack.api.patch(
        f"/api/v1/queue/message/{moved}", json={"scheduled_for": in_seconds(1)}
    )
    assert response.status_code == 200, response.text
    await stack.until(moved, "sent", "delivered", "read")


async def test_a_message_with_a_delayed_start_is_not_reported_as_rescheduled_without_a_worker(
    stack: Stack,
) -> None:
    message = await in_an_hour(stack)
    handle = await stack.client.start_workflow(
        SCHEDULED_WORKFLOW,
        message,
        id=message.message_id,
        task_queue="nobody-works-here",
        memo={MEMO_MESSAGE: MessageMemo.of(message)},
        search_attributes=TypedSearchAttributes([SearchAttributePair(TENANT, message.tenant_id)]),
        start_delay=timedelta(hours=1),
    )
    response = await stack.api.patch(
        f"/api/v1/queue/message/{message.message_id}", json={"scheduled_for": in_seconds(60)}
    )
    await handle.terminate()
    assert (response.status_code, response.headers["Retry-After"]) == (503, "10"), response.text
    assert "old time" in response.json()["detail"]


async def test_the_web_uis_cancel_button_ends_a_message_with_a_delayed_start_at_once(
    stack: Stack,
) -> None:
    message_id = await delayed(stack)
    await stack.client.get_workflow_handle(message_id).cancel()
    assert (await stack.until(message_id, "cancelled"))["status"] == "cancelled"
