"""Cancelling, by the API and in the Temporal Web UI: in every state, and too late."""

import asyncio

import pytest

from tests.stack import Stack, eventually, fresh_recipient


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
