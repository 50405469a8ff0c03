"""Workflows ended in the Web UI: no accepted message is lost, and none is sent twice."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlmodel import Session
from structlog.testing import capture_logs

from activities import reconciliation as reconciling
from pytake.access import keys
from pytake.clock import now
from pytake.contacts.hashing import ContactHashes
from pytake.conversations import inbox
from pytake.conversations.contracts import conversation_workflow_id
from pytake.conversations.start import ConversationStarter
from pytake.conversations.tables import AutoReply, InboundMessage
from pytake.numbers import store as numbers
from pytake.reconciliation import store as ended
from pytake.reconciliation import unattended
from pytake.reconciliation.contracts import ReconcileInput
from pytake.temporal.queues import WORKFLOW_QUEUE
from tests.hooks import configure, send, tenant, until
from tests.receiver import Receiver
from tests.stack import Stack, eventually, fresh_recipient, make_settings, running_stack


@pytest.fixture(scope="module")
async def stack(
    own_temporal_address: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Stack]:
    settings = make_settings(
        tmp_path_factory.mktemp("stack"),
        PYTAKE_AUTO_RESPONDER=True,
        PYTAKE_REPLY_DEBOUNCE_SECONDS=1.5,
    )
    async with running_stack(settings, own_temporal_address) as running:
        yield running


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settle conversations without waiting: no decision is under way in these tests."""
    monkeypatch.setattr(reconciling, "_CONVERSATION_WAIT", timedelta(0))
    monkeypatch.setattr(inbox, "_UNSIGNALLED_AFTER", timedelta(0))


async def look(stack: Stack) -> dict[str, int]:
    """Reconcile once, as the schedule does."""
    found: dict[str, int] = await stack.client.execute_workflow(
        "ReconcileWorkflow", ReconcileInput(), id=f"reconcile-{uuid4()}", task_queue=WORKFLOW_QUEUE
    )
    return found


async def reconcile(stack: Stack, kind: str) -> None:
    """Reconcile until something of the kind is found, as visibility lags."""

    async def found() -> bool:
        return kind in await look(stack)

    await eventually(found)


async def dead_letters(stack: Stack, to: str) -> list[dict[str, Any]]:
    listed = await stack.api.get("/api/v1/queue/dead-letter", params={"recipient": to})
    found: list[dict[str, Any]] = listed.json()["messages"]
    return found


async def terminate(stack: Stack, workflow_id: str) -> None:
    await stack.client.get_workflow_handle(workflow_id).terminate("wrong list")


async def retried(stack: Stack, message_id: str) -> None:
    response = await stack.api.post(f"/api/v1/queue/message/{message_id}/retry")
    assert response.status_code == 202, response.text


async def test_terminated_messages_are_dead_letters_that_can_be_retried(
    stack: Stack, receiver: Receiver
) -> None:
    owner = tenant()
    number = await stack.register(tenant=owner)
    events = receiver.script(f"/{owner}", 200)
    await configure(stack, owner, events, events=["message.failed"])
    await stack.api.post(f"/api/v1/whatsapp/numbers/{number}/pause")
    to = fresh_recipient()
    whose = {"phone_number_id": number, "tenant_id": owner}
    held = [(await stack.send(to=to, **whose))["message_id"] for _ in range(2)]
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    scheduled = (await stack.send(to=to, **whose, scheduled_for=tomorrow))["message_id"]
    await stack.until(held[1], "held")
    await terminate(stack, held[0])
    await terminate(stack, scheduled)
    assert (await stack.message(scheduled))["status"] == "failed"

    async def listed() -> bool:
        await look(stack)
        return len(await dead_letters(stack, to)) == 2

    await eventually(listed)
    assert {item["message_id"] for item in await dead_letters(stack, to)} == {held[0], scheduled}
    for message_id in (held[0], scheduled):
        view = await stack.message(message_id)
        assert "terminated" in view["error"]["title"]
        assert view["error"]["detail"]
        assert view["attempts"] == 0

    async def told() -> bool:
        return len(receiver.received[f"/{owner}"]) == 2

    await eventually(told)
    # One more, retried before anybody looked.
    await terminate(stack, held[1])
    await retried(stack, held[1])
    await retried(stack, held[0])
    await retried(stack, scheduled)
    await stack.api.post(f"/api/v1/whatsapp/numbers/{number}/resume")
    for message_id in (*held, scheduled):
        await stack.until(message_id, "read")
        await stack.accepted_once(message_id)
    await look(stack)
    for message_id in (*held, scheduled):
        assert (await stack.message(message_id))["status"] == "read"


async def test_a_message_terminated_in_the_middle_of_its_send_is_sent_once(stack: Stack) -> None:
    number, to = await stack.register(rate=2), fresh_recipient()
    await stack.fault("latency", seconds=1, to=to, count=1)
    await stack.send(to=fresh_recipient(), phone_number_id=number)
    await stack.send(to=fresh_recipient(), phone_number_id=number)
    message_id = (await stack.send(to=to, phone_number_id=number))["message_id"]  # queued
    await stack.until(message_id, "processing")
    await terminate(stack, message_id)
    early = await stack.api.post(f"/api/v1/queue/message/{message_id}/retry")
    assert early.status_code == 409
    assert int(early.headers["Retry-After"]) > 0
    assert (await stack.message(message_id))["status"] == "failed"

    async def received() -> bool:
        return len(await stack.accepted(biz_opaque_callback_data=message_id)) == 1

    await eventually(received)
    await asyncio.sleep(0.5)  # for its receipts
    await reconcile(stack, "messages")
    assert (await stack.until(message_id, "read"))["attempts"] == 1
    again = await stack.api.post(f"/api/v1/queue/message/{message_id}/retry")
    assert again.status_code == 409
    await stack.accepted_once(message_id)


async def test_a_terminated_delivery_is_a_dead_letter_and_does_not_block_others(
    stack: Stack, receiver: Receiver
) -> None:
    owner = tenant()
    url = receiver.script(f"/{owner}", 500, 200)
    made = await configure(
        stack, owner, url, events=["message.*"], ordered=True, retry_schedule=[3600]
    )
    number = await stack.register(tenant=owner)
    sent = await stack.send(to=fresh_recipient(), tenant_id=owner, phone_number_id=number)
    await stack.until(sent["message_id"], "read")
    stuck, workflow_id = await _in_back_off(stack, owner)
    assert len(receiver.received[f"/{owner}"]) == 1, "the others wait for the first"
    await terminate(stack, workflow_id)
    await reconcile(stack, "deliveries")
    view = await until(stack, stuck, "dead_letter")
    assert "terminated" in view["last_error"]
    params = {"endpoint_id": made["id"]}
    listed = await stack.api.get("/api/v1/webhooks/dead-letter", params=params)
    assert [item["id"] for item in listed.json()["deliveries"]] == [stuck]

    async def passed() -> bool:
        return len(receiver.received[f"/{owner}"]) == 4  # sent, delivered, read

    await eventually(passed)
    await _delivered_anew(stack, stuck)


async def test_a_terminated_delivery_can_be_retried_before_it_is_reconciled(
    stack: Stack, receiver: Receiver
) -> None:
    owner = tenant()
    url = receiver.script(f"/{owner}", 500, 200)
    await configure(stack, owner, url, retry_schedule=[3600])
    await send(stack, owner)
    stuck, workflow_id = await _in_back_off(stack, owner)
    await terminate(stack, workflow_id)
    await _delivered_anew(stack, stuck)


async def _in_back_off(stack: Stack, owner: str) -> tuple[str, str]:
    """The delivery that was attempted once, and its workflow."""
    found: list[dict[str, Any]] = []

    async def attempted() -> bool:
        params = {"tenant_id": owner, "limit": 100}
        listed = (await stack.api.get("/api/v1/webhooks/deliveries", params=params)).json()
        found[:] = [item for item in listed["deliveries"] if item["attempts"] == 1]
        return len(found) == 1

    await eventually(attempted)
    return found[0]["id"], found[0]["links"]["temporal_ui"].rsplit("/", 1)[1]


async def _delivered_anew(stack: Stack, delivery_id: str) -> None:
    response = await stack.api.post(f"/api/v1/webhooks/retry/{delivery_id}")
    assert response.status_code == 202, response.text
    assert (await until(stack, delivery_id, "delivered"))["run"] == 1


async def _rule(stack: Stack, owner: str, **fields: Any) -> None:
    body = {
        "name": "r",
        "id": "eco",
        "tenant_id": owner,
        "trigger": {"type": "Keyword", "words": ["eco"]},
        "response": {"action": "SendMessage", "text": "ok"},
        **fields,
    }
    made = await stack.api.post("/api/v1/auto-responder/rules", json=body)
    assert made.status_code == 201, made.text


async def test_a_throttled_number_without_its_workflow_gets_back_to_its_rate(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numbers, "RECOVER_EVERY", timedelta(seconds=1))
    monkeypatch.setattr(numbers, "_STEP_OVERDUE", timedelta(seconds=1))
    number = await stack.register(rate=8)
    await stack.database.write(numbers.throttle, number, now() - timedelta(seconds=60))

    async def recovered() -> bool:
        listed = (await stack.api.get("/api/v1/whatsapp/numbers")).json()
        row = next(row for row in listed if row["phone_number_id"] == number)
        return bool(row["state"] == "active")

    assert not await recovered()
    assert (await look(stack))["numbers"] >= 1
    await eventually(recovered)


async def test_a_terminated_replay_is_over(
    stack: Stack, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unattended, "_STARTED_BEFORE", timedelta(0))
    owner = tenant()
    url = receiver.script(f"/{owner}", 200)
    made = await configure(stack, owner, url, active=False)
    wanted = {"endpoint_id": made["id"], "per_second": 1, "dry_run": False}
    ids = []
    for _ in range(2):
        for _ in range(3):
            await send(stack, owner)
        ids.append((await stack.api.post("/api/v1/webhooks/retry", json=wanted)).json()["id"])
        await terminate(stack, ids[-1])

    async def status(replay_id: str) -> str:
        found = await stack.api.get(f"/api/v1/webhooks/retry/{replay_id}")
        text: str = found.json()["status"]
        return text

    assert await status(ids[1]) == "running"
    await stack.api.post(f"/api/v1/webhooks/retry/{ids[1]}/cancel")
    assert await status(ids[1]) == "cancelled"
    await reconcile(stack, "replays")
    assert await status(ids[0]) == "cancelled"


def _answer(session: Session, key: str) -> AutoReply | None:
    return session.get(AutoReply, key)


def _told(session: Session, wamid: str) -> bool:
    row = session.get(InboundMessage, wamid)
    return row is not None and row.signalled_at is not None


@pytest.mark.parametrize("decided", [False, True])
async def test_a_terminated_conversation_is_answered_once(stack: Stack, decided: bool) -> None:
    """Terminated in its debounce; or after the decision, while the answer waits for its delay."""
    owner, contact = tenant(), fresh_recipient()
    number = await stack.register(tenant=owner)
    await _rule(stack, owner, **({"delay_seconds": 2} if decided else {}))
    wamid = await stack.inbound(contact, "eco", number)

    async def known() -> bool:
        if decided:
            return await stack.database.read(_answer, wamid) is not None
        return await stack.database.read(_told, wamid)

    await eventually(known)
    hashed = keys.hash_contact(await stack.database.write(keys.contact_hash_key), contact)
    await terminate(stack, conversation_workflow_id(number, hashed))
    assert await stack.accepted(to=contact) == []
    if decided:

        async def answered() -> bool:
            await look(stack)
            return bool(await stack.accepted(to=contact))

        await eventually(answered)
    else:
        await reconcile(stack, "inbound messages")
        hashes = ContactHashes(stack.database)
        await ConversationStarter(stack.client, stack.database, hashes, 0.2).sweep()
        await eventually(lambda: _answered(stack, contact))
    await asyncio.sleep(1)
    assert len(await stack.accepted(to=contact)) == 1


async def _answered(stack: Stack, contact: str) -> bool:
    return bool(await stack.accepted(to=contact))


async def test_with_nothing_to_settle_one_query_advances_the_watermark(stack: Stack) -> None:
    before = await stack.database.read(ended.watermark, "reconcile")
    at = now()
    assert await look(stack) == {}
    mark = await stack.database.read(ended.watermark, "reconcile")
    assert mark is not None
    assert mark >= at - timedelta(minutes=5, seconds=1)
    assert before is None or mark >= before


async def test_a_reconciliation_that_is_too_late_logs_an_error(stack: Stack) -> None:
    """The embedded server keeps what ended for a day."""
    await stack.database.write(ended.advance, "reconcile", now() - timedelta(days=2))
    with capture_logs() as logs:
        await look(stack)
    (error,) = [entry for entry in logs if entry["log_level"] == "error"]
    assert "retention" in error["event"]
    with capture_logs() as logs:
        await look(stack)
    assert [entry for entry in logs if entry["log_level"] == "error"] == []
