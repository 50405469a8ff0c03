"""Records the histories that ``test_replay`` replays: ``python -m tests.replay.record [scenario...]``.

Run it after a workflow change that is meant to break replay, and give the reason in the commit: messages
in flight from the previous version would break too, unless the change is behind ``workflow.patched``.
"""

import asyncio
import json
import os
import socket
import sys
import tempfile
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from temporalio.service import RPCError

from pytake.access import keys
from pytake.conversations.contracts import conversation_workflow_id
from pytake.numbers.contracts import number_workflow_id
from pytake.reconciliation.contracts import ReconcileInput
from pytake.retention.contracts import PruneInput
from pytake.temporal.queues import WORKFLOW_QUEUE
from tests.receiver import Receiver, receiving
from tests.stack import (
    Stack,
    eventually,
    fresh_recipient,
    make_settings,
    running_stack,
    temporal_server,
)

HISTORIES = Path(__file__).parent / "histories"


def _in(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


async def sent(stack: Stack) -> str:
    message_id: str = (await stack.send(to=fresh_recipient()))["message_id"]
    await stack.client.get_workflow_handle(message_id).result()
    return message_id


async def retried(stack: Stack) -> str:
    await stack.fault("drop_before", count=2)
    return await sent(stack)


async def without_an_answer(stack: Stack) -> str:
    await stack.fault("drop_after", count=1)
    return await sent(stack)


async def settled_by_its_receipt(stack: Stack) -> str:
    await stack.fault("drop_after", count=1)
    message_id: str = (await stack.send(to=fresh_recipient(), max_attempts=1))["message_id"]
    await stack.client.get_workflow_handle(message_id).result()
    return message_id


async def deferred(stack: Stack) -> str:
    await stack.fault("error", code=131056, count=1)
    return await sent(stack)


async def dead(stack: Stack) -> str:
    await stack.fault("error", code=131026, count=1)
    message_id: str = (await stack.send(to=fresh_recipient()))["message_id"]
    await stack.until(message_id, "failed")
    return message_id


async def redriven(stack: Stack) -> str:
    message_id = await dead(stack)
    await stack.api.post(f"/api/v1/queue/message/{message_id}/retry")
    await stack.until(message_id, "read")
    return message_id


async def cancelled_in_back_off(stack: Stack) -> str:
    await stack.fault("error", code=131016)
    message_id: str = (await stack.send(to=fresh_recipient()))["message_id"]
    await stack.until(message_id, "retrying")
    await stack.api.post(f"/api/v1/queue/message/{message_id}/cancel")
    await stack.clear_faults()
    return message_id


async def cancelled_without_an_answer(stack: Stack) -> str:
    await stack.fault("status_withhold")
    await stack.fault("drop_after")
    message_id: str = (await stack.send(to=fresh_recipient()))["message_id"]
    await stack.until(message_id, "retrying")
    await stack.client.get_workflow_handle(message_id).signal("cancel")
    await stack.until(message_id, "failed")
    await stack.clear_faults()
    return message_id


async def cancelled_by_the_web_ui(stack: Stack) -> str:
    await stack.fault("error", code=131016)
    message_id: str = (await stack.send(to=fresh_recipient()))["message_id"]
    await stack.until(message_id, "retrying")
    await stack.client.get_workflow_handle(message_id).cancel()
    await stack.until(message_id, "cancelled")
    await stack.clear_faults()
    return message_id


async def held_and_resumed(stack: Stack) -> str:
    number = await stack.register()
    await stack.fault("error", code=190, count=1)
    message_id: str = (await stack.send(to=fresh_recipient(), phone_number_id=number))["message_id"]
    await stack.until(message_id, "held")
    await stack.api.post(f"/api/v1/whatsapp/numbers/{number}/resume")
    await stack.until(message_id, "read")
    return message_id


async def scheduled_moved_and_sent(stack: Stack) -> str:
    message_id: str = (await stack.send(to=fresh_recipient(), scheduled_for=_in(600)))["message_id"]
    first = await stack.client.get_workflow_handle(message_id).describe()
    await stack.api.patch(f"/api/v1/queue/message/{message_id}", json={"scheduled_for": _in(1)})
    await stack.until(message_id, "read")
    return f"{message_id} {first.run_id}"


async def scheduled_and_cancelled(stack: Stack) -> str:
    message_id: str = (await stack.send(to=fresh_recipient(), scheduled_for=_in(600)))["message_id"]
    await stack.api.post(f"/api/v1/queue/message/{message_id}/cancel")
    return message_id


async def number_throttled(stack: Stack) -> str:
    number = await stack.register(rate=10)
    await stack.fault("error", code=130429, count=1)
    message_id: str = (await stack.send(to=fresh_recipient(), phone_number_id=number))["message_id"]
    await stack.until(message_id, "read")
    workflow_id = number_workflow_id(number)

    async def recovered() -> bool:
        description = await stack.client.get_workflow_handle(workflow_id).describe()
        return description.close_time is not None

    await eventually(recovered, 120)
    return workflow_id


async def _hook(stack: Stack, receiver: Receiver, path: str, **changes: object) -> dict[str, Any]:
    tenant = f"t{fresh_recipient()}"
    endpoint = {
        "tenant_id": tenant,
        "url": receiver.url(path),
        "events": ["*"],
        "retry_schedule": [0.2],
        "max_retries": 1,
    }
    made = await stack.api.post("/api/v1/webhooks/configure", json={**endpoint, **changes})
    event = {"tenant_id": tenant, "event_type": "order.paid", "payload": {"id": 1}}
    sent: dict[str, Any] = (await stack.api.post("/api/v1/webhooks/send", json=event)).json()
    return {**sent, "endpoint": made.json()["id"]}


async def _ended(stack: Stack, sent: dict[str, Any]) -> str:
    found = await stack.api.get(f"/api/v1/webhooks/delivery/{sent['deliveries'][0]}")
    workflow_id = found.json()["links"]["temporal_ui"].rsplit("/", 1)[1]

    async def ended() -> bool:
        try:
            description = await stack.client.get_workflow_handle(workflow_id).describe()
        except RPCError:
            return False
        return description.close_time is not None

    await eventually(ended, 30)
    return workflow_id


async def webhook_delivered(stack: Stack) -> str:
    async with receiving() as receiver:
        receiver.script("/", 500, 200)
        return await _ended(stack, await _hook(stack, receiver, "/"))


async def webhook_dead(stack: Stack) -> str:
    async with receiving() as receiver:
        receiver.script("/", 500)
        return await _ended(stack, await _hook(stack, receiver, "/"))


async def webhook_retried_by_hand(stack: Stack) -> str:
    async with receiving() as receiver:
        receiver.script("/", 500, 200)
        sent = await _hook(stack, receiver, "/", retry_schedule=[600])

        async def attempted() -> bool:
            found = await stack.api.get(f"/api/v1/webhooks/delivery/{sent['deliveries'][0]}")
            return bool(found.json()["attempts"] == 1)

        await eventually(attempted, 30)
        await stack.api.post(f"/api/v1/webhooks/retry/{sent['deliveries'][0]}")
        return await _ended(stack, sent)


async def webhook_replay(stack: Stack) -> str:
    async with receiving() as receiver:
        receiver.script("/", 200)
        sent = await _hook(stack, receiver, "/", active=False)
        await stack.api.post(f"/api/v1/webhooks/config/{sent['endpoint']}/enable")
        wanted = {"endpoint_id": sent["endpoint"], "dry_run": False}
        replay_id: str = (await stack.api.post("/api/v1/webhooks/retry", json=wanted)).json()["id"]
        await stack.client.get_workflow_handle(replay_id).result()
        return replay_id


async def _conversation(stack: Stack, **rule: object) -> tuple[str, str]:
    """Have a contact send a message that a rule answers; return workflow id and contact."""
    tenant, contact = f"t{fresh_recipient()}", fresh_recipient()
    number = await stack.register(tenant=tenant)
    body = {
        "name": "r",
        "tenant_id": tenant,
        "trigger": {"type": "Keyword", "words": ["oi"]},
        "response": {"action": "SendMessage", "text": "Olá"},
        **rule,
    }
    response = await stack.api.post("/api/v1/auto-responder/rules", json=body)
    assert response.status_code == 201, response.text
    await stack.inbound(contact, "oi", number)
    key = await stack.database.write(keys.contact_hash_key)
    return conversation_workflow_id(number, keys.hash_contact(key, contact)), contact


async def _answered(stack: Stack, contact: str, messages: int) -> None:
    async def reached() -> bool:
        return len(await stack.accepted(to=contact)) == messages

    await eventually(reached, 30)
    await asyncio.sleep(1)


async def conversation_answered(stack: Stack) -> str:
    workflow_id, contact = await _conversation(stack)
    await _answered(stack, contact, 1)
    return workflow_id


async def conversation_with_a_sequence_after_a_delay(stack: Stack) -> str:
    one, two = ({"action": "SendMessage", "text": text} for text in ("um", "dois"))
    sequence = {"action": "Sequence", "actions": [one, two]}
    workflow_id, contact = await _conversation(stack, response=sequence, delay_seconds=2)
    await _answered(stack, contact, 2)
    return workflow_id


async def conversation_without_an_answer(stack: Stack) -> str:
    workflow_id, _ = await _conversation(stack, active=False)
    await asyncio.sleep(3)
    return workflow_id


async def snapshot_taken(stack: Stack) -> str:
    number = await stack.register()
    await stack.api.get("/api/v1/whatsapp/health", params={"phone_number_id": number})
    return f"snapshot-health-{number}"


async def pruned(stack: Stack) -> str:
    await stack.client.execute_workflow(
        "PruneWorkflow", PruneInput(days=365), id="prune-recorded", task_queue=WORKFLOW_QUEUE
    )
    return "prune-recorded"


async def reconciled(stack: Stack) -> str:
    await stack.client.execute_workflow(
        "ReconcileWorkflow", ReconcileInput(), id="reconcile-recorded", task_queue=WORKFLOW_QUEUE
    )
    return "reconcile-recorded"


async def sent_directly(stack: Stack) -> str:
    return await sent(stack)


async def retried_after_a_direct_try(stack: Stack) -> str:
    await stack.fault("drop_before", count=1)
    return await sent(stack)


async def dead_after_a_direct_try(stack: Stack) -> str:
    return await dead(stack)


async def cancelled_while_it_is_sent_directly(stack: Stack) -> str:
    await stack.fault("latency", seconds=1.5, count=1)
    message_id: str = (await stack.send(to=fresh_recipient()))["message_id"]
    await stack.until(message_id, "processing")
    await stack.api.post(f"/api/v1/queue/message/{message_id}/cancel")
    await stack.until(message_id, "read")
    return message_id


async def expired_after_it_was_sent(stack: Stack) -> str:
    await stack.fault("drop_after", count=1)
    message_id: str = (await stack.send(to=fresh_recipient(), expires_at=_in(1.5)))["message_id"]
    await stack.until(message_id, "read")
    await stack.client.get_workflow_handle(message_id).result()
    return message_id


DIRECT: tuple[Callable[[Stack], Awaitable[str]], ...] = (
    sent_directly,
    retried_after_a_direct_try,
    dead_after_a_direct_try,
    cancelled_while_it_is_sent_directly,
    expired_after_it_was_sent,
)
"""Scenarios with direct sends; all others send through the queue."""
SCENARIOS: tuple[Callable[[Stack], Awaitable[str]], ...] = (
    sent,
    retried,
    without_an_answer,
    settled_by_its_receipt,
    deferred,
    dead,
    redriven,
    cancelled_in_back_off,
    cancelled_without_an_answer,
    cancelled_by_the_web_ui,
    held_and_resumed,
    scheduled_moved_and_sent,
    scheduled_and_cancelled,
    number_throttled,
    webhook_delivered,
    webhook_dead,
    webhook_retried_by_hand,
    webhook_replay,
    conversation_answered,
    conversation_with_a_sequence_after_a_delay,
    conversation_without_an_answer,
    snapshot_taken,
    pruned,
    reconciled,
    *DIRECT,
)


def portable(value: Any) -> Any:
    """Without data about the recording machine, which replay does not need."""
    if isinstance(value, dict):
        return {
            key: "recorder" if key == "identity" else portable(item)
            for key, item in value.items()
            if key != "stackTrace"
        }
    if isinstance(value, list):
        return [portable(item) for item in value]
    return (
        value.replace(f"@{socket.gethostname()}", "@recorder") if isinstance(value, str) else value
    )


async def main() -> None:
    """Run all scenarios, or the named ones, and save their histories."""
    HISTORIES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as directory, temporal_server(Path(directory)) as address:
        wanted = [s for s in SCENARIOS if not sys.argv[1:] or s.__name__ in sys.argv[1:]]
        for direct in (False, True):
            settings = make_settings(
                Path(directory),
                PYTAKE_AUTO_RESPONDER=True,
                PYTAKE_DEFAULT_RULES=False,
                PYTAKE_DIRECT_SENDS=50 if direct else 0,
            )
            async with running_stack(settings, address) as stack:
                for scenario in wanted:
                    if (scenario in DIRECT) is direct:
                        await record(stack, scenario)


async def record(stack: Stack, scenario: Callable[[Stack], Awaitable[str]]) -> None:
    workflow_id, _, run_id = (await scenario(stack)).partition(" ")
    handle = stack.client.get_workflow_handle(workflow_id, run_id=run_id or None)
    history = await handle.fetch_history()
    text = json.dumps(portable(json.loads(history.to_json())), indent=1)
    (HISTORIES / f"{scenario.__name__}.json").write_text(text + "\n")
    print(f"{scenario.__name__}: {len(history.events)} events", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
    sys.stdout.flush()
    os._exit(0)
