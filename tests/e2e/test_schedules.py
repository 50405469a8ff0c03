"""Scheduled messages: sent on time, moved, cancelled, also before their first workflow task."""

from datetime import UTC, datetime, timedelta

from temporalio.common import SearchAttributePair, TypedSearchAttributes, WorkflowIDReusePolicy

from pytake.messages.content import MessageType
from pytake.messages.contracts import SCHEDULED_WORKFLOW, MessageInput, MessageMemo, new_message_id
from pytake.messages.start import start_message
from pytake.temporal.attributes import MEMO_MESSAGE, TENANT
from tests.stack import Stack, fresh_recipient


def in_seconds(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


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
