"""Direct sends, which skip the queue: fast when all is well, and safe when it is not."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from temporalio.client import WorkflowFailureError

from pytake.messages import claims as send_claims
from pytake.messages import store as messages
from pytake.messages.content import MessageType
from pytake.messages.contracts import (
    EXPIRED,
    MessageInput,
    OutcomeRecord,
    idempotent_message_id,
    new_message_id,
)
from pytake.messages.status import Observation
from pytake.temporal.queues import WORKFLOW_QUEUE
from pytake.whatsapp import limits
from tests.stack import Stack, eventually, fresh_recipient, make_settings, running_stack

_EXECUTED = ("MARKER_RECORDED", "ACTIVITY_TASK_SCHEDULED")


async def executed(stack: Stack, message_id: str) -> list[str]:
    """Local activities ("MARKER_RECORDED") and queued ones of a message, in order."""
    history = await stack.client.get_workflow_handle(message_id).fetch_history()
    names = [event.WhichOneof("attributes") or "" for event in history.events]
    kinds = [name.removesuffix("_event_attributes").upper() for name in names]
    return [kind for kind in kinds if kind in _EXECUTED]


async def claimed(stack: Stack, message_id: str, at: datetime) -> dict[str, datetime]:
    return await stack.database.write(send_claims.claim, [(message_id, "default")], at)


async def test_a_free_number_sends_at_once_and_leaves_no_claim(stack: Stack) -> None:
    sent = await stack.send(to=fresh_recipient())
    await stack.client.get_workflow_handle(sent["message_id"]).result()
    assert await executed(stack, sent["message_id"]) == ["MARKER_RECORDED"]
    await stack.accepted_once(sent["message_id"])
    view = await stack.message(sent["message_id"])
    assert (view["attempts"], view["wamid"] is not None) == (1, True)
    await stack.database.write(send_claims.release, [sent["message_id"]])
    again = await claimed(stack, sent["message_id"], datetime.now(UTC))
    assert list(again) == [sent["message_id"]], "what is recorded is never sent again"


async def test_messages_faster_than_the_rate_are_queued(stack: Stack) -> None:
    number = await stack.register(rate=0.5)
    sends = (stack.send(to=fresh_recipient(), phone_number_id=number) for _ in range(3))
    ids = [sent["message_id"] for sent in await asyncio.gather(*sends)]
    for message_id in ids:
        await stack.until(message_id, "read")
    queued = ["ACTIVITY_TASK_SCHEDULED" in await executed(stack, m) for m in ids]
    # The one that may go directly goes to the queue, too, where another had the number's slot by then.
    assert queued.count(True) >= 2


async def test_a_number_that_is_paused_holds_its_messages_in_the_queue(stack: Stack) -> None:
    number = await stack.register()
    await stack.api.post(f"/api/v1/whatsapp/numbers/{number}/pause")
    sent = await stack.send(to=fresh_recipient(), phone_number_id=number)
    await stack.until(sent["message_id"], "held")
    await stack.api.post(f"/api/v1/whatsapp/numbers/{number}/resume")
    await stack.until(sent["message_id"], "read")
    await stack.accepted_once(sent["message_id"])


async def test_the_second_attempt_waits_visibly_and_is_queued(stack: Stack) -> None:
    to = fresh_recipient()
    await stack.fault("error", code=131000, to=to, count=2)
    sent = await stack.send(to=to)
    view = await stack.until(sent["message_id"], "retrying")
    assert view["error"]["code"] == 131000
    assert view["next_retry_at"] > view["last_attempt_at"]
    view = await stack.until(sent["message_id"], "read")
    assert view["attempts"] == 3
    assert [e["event"] for e in view["timeline"]].count("attempt_failed") == 2


async def test_a_message_that_meta_defers_releases_its_claim(stack: Stack) -> None:
    to = fresh_recipient()
    await stack.fault("error", code=131056, to=to, count=1)
    sent = await stack.send(to=to)
    view = await stack.until(sent["message_id"], "read", seconds=10)
    assert view["attempts"] == 1, "a wait is no attempt, and its claim is gone"
    assert not [e for e in view["timeline"] if e["detail"].startswith("receipt_wait")]


async def test_a_message_that_expires_after_it_was_sent_is_sent(stack: Stack) -> None:
    to = fresh_recipient()
    await stack.fault("drop_after", to=to, count=1)
    soon = (datetime.now(UTC) + timedelta(seconds=1.5)).isoformat()
    sent = await stack.send(to=to, expires_at=soon)
    result = await stack.client.get_workflow_handle(sent["message_id"]).result()
    assert result["status"] == "accepted"
    await stack.accepted_once(sent["message_id"])


@pytest.fixture
def short_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """An attempt is over for certain after five seconds: its call, and the time for a receipt."""
    monkeypatch.setattr(limits, "SEND_MARGIN", timedelta(0))


@pytest.mark.usefixtures("short_window")
async def test_a_message_claimed_by_a_lost_task_waits_for_its_receipt(stack: Stack) -> None:
    """As after a kill -9 during the send: the claim exists, the outcome of the POST is unknown."""
    message_id, to = await _begun_elsewhere(stack)
    await asyncio.sleep(2)
    assert await stack.accepted(biz_opaque_callback_data=message_id) == []
    await stack.until(message_id, "read", seconds=20)
    accepted = await stack.accepted_once(message_id)
    assert accepted["to"] == to


@pytest.mark.usefixtures("short_window")
async def test_a_cancel_waits_for_the_outcome_of_a_lost_task(stack: Stack) -> None:
    message_id, _ = await _begun_elsewhere(stack, cancel=True)
    view = await stack.until(message_id, "failed", "cancelled", seconds=20)
    assert view["status"] == "failed", "the other worker may have sent it"
    assert view["error"]["error_class"] == "ambiguous"
    assert await stack.accepted(biz_opaque_callback_data=message_id) == []


async def test_a_message_that_a_lost_task_made_a_dead_letter_is_not_cancelled(stack: Stack) -> None:
    at = datetime.now(UTC)
    message = MessageInput(
        message_id=new_message_id(),
        tenant_id="default",
        phone_number_id=await stack.register(),
        recipient=fresh_recipient(),
        message_type=MessageType.TEMPLATE,
        content={"name": "pytake_saudacao", "language": "pt_BR"},
        created_at=at,
        expires_at=at + timedelta(hours=1),
        messages_per_second=80,
        send_timeout_seconds=3,
        receipt_wait_seconds=2,
        direct=True,
    )
    record = OutcomeRecord(
        message=message, observation=Observation.DEAD, at=at, attempts=1, problem=EXPIRED
    )
    await stack.database.write(messages.record_outcome, record)
    handle = await stack.client.start_workflow(
        "MessageWorkflow",
        message,
        id=message.message_id,
        task_queue=WORKFLOW_QUEUE,
        start_signal="cancel",
    )
    with pytest.raises(WorkflowFailureError) as failed:
        await handle.result()
    assert "Expired" in str(failed.value.cause)
    row = await stack.database.read(messages.get, message.message_id)
    assert row is not None
    assert (row.status, row.attempts, row.cancelled_at) == ("dead", 1, None)


async def _begun_elsewhere(stack: Stack, *, cancel: bool = False) -> tuple[str, str]:
    """A message claimed before its workflow starts, as if by another worker."""
    to = fresh_recipient()
    message_id = idempotent_message_id("default", to)
    assert await claimed(stack, message_id, datetime.now(UTC)) == {}
    await stack.send(to=to, headers={"Idempotency-Key": to})
    if cancel:
        await stack.client.get_workflow_handle(message_id).signal("cancel")
    return message_id, to


@pytest.fixture
async def two_slots(
    own_database_url: str, own_temporal_address: str, tmp_path: Path
) -> AsyncIterator[Stack]:
    settings = make_settings(tmp_path, own_database_url, PYTAKE_DIRECT_SENDS=2)
    async with running_stack(settings, own_temporal_address) as stack:
        yield stack


async def test_hanging_calls_leave_room_for_others(two_slots: Stack) -> None:
    stack = two_slots
    stuck = [fresh_recipient() for _ in range(4)]
    for to in stuck:
        await stack.fault("latency", seconds=2.5, to=to, count=1)
    ids = [(await stack.send(to=to))["message_id"] for to in stuck]

    async def one_is_sent() -> bool:
        return (await stack.message(ids[0]))["status"] == "processing"

    await eventually(one_is_sent, 5)
    number = await stack.register()
    began = asyncio.get_running_loop().time()
    other = await stack.send(to=fresh_recipient(), phone_number_id=number)
    await stack.until(other["message_id"], "sent", "delivered", "read", seconds=10)
    assert asyncio.get_running_loop().time() - began < 2
    for message_id in ids:
        await stack.until(message_id, "read", seconds=20)
        await stack.accepted_once(message_id)
    direct = ["ACTIVITY_TASK_SCHEDULED" not in await executed(stack, m) for m in ids]
    assert direct.count(True) == 1, "half of the slots at most are one number's"
