"""Every fault of the sandbox, over real HTTP: accepted once, and the right status at the end."""

import itertools
from datetime import datetime

import pytest

from tests.stack import Stack, eventually, fresh_recipient


async def test_drop_before_is_retried_after_1_2_and_4_seconds(stack: Stack) -> None:
    await stack.fault("drop_before", count=3)
    sent = await stack.send(to=fresh_recipient())
    retrying = await stack.until(sent["message_id"], "retrying")
    assert retrying["next_retry_at"] is not None
    assert retrying["error"]["error_class"] == "transient", retrying["error"]
    view = await stack.until(sent["message_id"], "sent", "delivered", "read")
    assert view["attempts"] == 4
    await stack.accepted_once(sent["message_id"])
    failed = [e for e in view["timeline"] if e["event"] == "attempt_failed"]
    began = [datetime.fromisoformat(e["at"]) for e in failed]
    planned = [datetime.fromisoformat(e["detail"].rpartition("next at ")[2]) for e in failed]
    delays = [(after - at).total_seconds() for at, after in zip(began, planned, strict=True)]
    assert [round(delay) for delay in delays] == [1, 2, 4], delays
    accepted = next(e["at"] for e in view["timeline"] if e["event"] == "accepted")
    times = [*began, datetime.fromisoformat(accepted)]
    waited = [(later - earlier).total_seconds() for earlier, later in itertools.pairwise(times)]
    assert all(0.9 * n <= w < n + 3 for w, n in zip(waited, (1, 2, 4), strict=True)), waited


async def test_a_permanent_error_is_a_dead_letter_at_once(stack: Stack) -> None:
    to = fresh_recipient()
    await stack.fault("error", code=131026, count=1)
    sent = await stack.send(to=to)
    view = await stack.until(sent["message_id"], "failed", seconds=10)
    assert view["attempts"] == 1
    assert view["error"]["code"] == 131026
    assert view["error"]["error_class"] == "permanent"
    assert "another way" in view["error"]["advice"]
    listed = (await stack.api.get("/api/v1/queue/dead-letter", params={"recipient": to})).json()
    assert [m["message_id"] for m in listed["messages"]] == [sent["message_id"]]
    description = await stack.client.get_workflow_handle(sent["message_id"]).describe()
    assert description.status is not None
    assert description.status.name == "FAILED"
    assert await stack.accepted(biz_opaque_callback_data=sent["message_id"]) == []


async def test_a_message_out_of_attempts_can_be_retried(stack: Stack) -> None:
    await stack.fault("error", code=131000)
    sent = await stack.send(to=fresh_recipient(), max_attempts=3)
    view = await stack.until(sent["message_id"], "failed", seconds=15)
    assert view["attempts"] == 3
    assert [e["event"] for e in view["timeline"]].count("attempt_failed") == 3
    early = await stack.api.post(f"/api/v1/queue/message/{sent['message_id']}/cancel")
    assert early.status_code == 409
    await stack.clear_faults()
    retried = await stack.api.post(f"/api/v1/queue/message/{sent['message_id']}/retry")
    assert retried.status_code == 202
    view = await stack.until(sent["message_id"], "read")
    assert view["attempts"] == 1
    await stack.accepted_once(sent["message_id"])
    again = await stack.api.post(f"/api/v1/queue/message/{sent['message_id']}/retry")
    assert again.status_code == 409


@pytest.mark.parametrize("kind", ["drop_after", "hang_after"])
async def test_an_accepted_message_whose_response_was_lost_is_not_sent_again(
    stack: Stack, kind: str
) -> None:
    to = fresh_recipient()
    await stack.fault(kind, to=to)
    sent = await stack.send(to=to)
    await stack.until(sent["message_id"], "read", seconds=30)
    handle = stack.client.get_workflow_handle(sent["message_id"])
    result = await handle.result()
    accepted = await stack.accepted_once(sent["message_id"])
    view = await stack.message(sent["message_id"])
    assert view["wamid"] == result["wamid"] == accepted["wamid"]
    assert view["status"] == "read"


async def test_a_receipt_settles_a_last_attempt_without_response(stack: Stack) -> None:
    to = fresh_recipient()
    await stack.fault("drop_after", to=to)
    sent = await stack.send(to=to, max_attempts=1)
    result = await stack.client.get_workflow_handle(sent["message_id"]).result()
    assert result["status"] == "accepted"
    await stack.accepted_once(sent["message_id"])


async def test_a_message_without_response_or_receipt_is_a_dead_letter_until_a_receipt_arrives(
    stack: Stack,
) -> None:
    to = fresh_recipient()
    await stack.fault("status_withhold", to=to)
    await stack.fault("drop_after", to=to)
    sent = await stack.send(to=to, max_attempts=1)
    view = await stack.until(sent["message_id"], "failed")
    assert view["error"]["error_class"] == "ambiguous"
    await stack.clear_faults()
    view = await stack.until(sent["message_id"], "read")
    assert view["error"] is None
    await stack.accepted_once(sent["message_id"])


async def test_a_failure_that_meta_reports_later_is_a_dead_letter_and_can_be_retried(
    stack: Stack,
) -> None:
    to = fresh_recipient()
    await stack.fault("status_failed", code=131049, to=to, count=1)
    sent = await stack.send(to=to)
    view = await stack.until(sent["message_id"], "failed")
    assert view["error"]["code"] == 131049
    assert view["error"]["error_class"] == "wait"
    assert "24 hours" in view["error"]["advice"]
    first = view["wamid"]
    assert (
        await stack.api.post(f"/api/v1/queue/message/{sent['message_id']}/retry")
    ).status_code == 202
    view = await stack.until(sent["message_id"], "read")
    assert view["wamid"] != first
    assert view["error"] is None


@pytest.mark.parametrize("kind", ["status_reorder", "status_duplicate"])
async def test_reordered_and_repeated_statuses_end_as_read(stack: Stack, kind: str) -> None:
    to = fresh_recipient()
    await stack.fault(kind, to=to)
    sent = await stack.send(to=to)
    seen = []

    async def complete() -> bool:
        view = await stack.message(sent["message_id"])
        seen.append(view["status"])
        return {"sent", "delivered", "read"} <= {e["event"] for e in view["timeline"]}

    await eventually(complete)
    order = ["pending", "processing", "sent", "delivered", "read"]
    ranks = [order.index(status) for status in seen]
    assert ranks == sorted(ranks), seen
    assert seen[-1] == "read"
    await stack.accepted_once(sent["message_id"])


async def test_withheld_statuses_leave_it_sent(stack: Stack) -> None:
    to = fresh_recipient()
    await stack.fault("status_withhold", to=to)
    sent = await stack.send(to=to)
    view = await stack.until(sent["message_id"], "sent")
    assert view["wamid"]
    await stack.clear_faults()
    await stack.until(sent["message_id"], "read")


async def test_a_slow_answer_is_waited_for(stack: Stack) -> None:
    to = fresh_recipient()
    await stack.fault("latency", seconds=1.0, to=to)
    sent = await stack.send(to=to)
    await stack.until(sent["message_id"], "processing")
    view = await stack.until(sent["message_id"], "read")
    assert view["attempts"] == 1
    await stack.accepted_once(sent["message_id"])


async def test_a_response_slower_than_the_timeout_does_not_send_twice(stack: Stack) -> None:
    to = fresh_recipient()
    await stack.fault("latency", seconds=4.0, to=to, count=1)
    sent = await stack.send(to=to)
    await stack.until(sent["message_id"], "read", seconds=30)
    await stack.accepted_once(sent["message_id"])


async def test_the_pair_limit_holds_this_message_only(stack: Stack) -> None:
    to = fresh_recipient()
    await stack.fault("error", code=131056, to=to, count=2)
    sent = await stack.send(to=to, max_attempts=1)
    held = await stack.until(sent["message_id"], "held")
    assert held["error"]["title"] == "pair_limit"
    other = await stack.send(to=fresh_recipient())
    await stack.until(other["message_id"], "sent", "delivered", "read", seconds=4)
    view = await stack.until(sent["message_id"], "read")
    waits = [e for e in view["timeline"] if e["event"] == "waiting"]
    assert len(waits) == 2
    gaps = [
        (
            datetime.fromisoformat(e["detail"].rpartition(" ")[2]) - datetime.fromisoformat(e["at"])
        ).total_seconds()
        for e in waits
    ]
    assert [round(gap) for gap in gaps] == [1, 4]
    assert view["attempts"] == 1
