"""PYTAKE_WAIT_CODES=redrive: messages that failed with a wait code are sent again after the wait."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from temporalio.service import RPCError, RPCStatusCode

from pytake.messages.accept import Acceptor
from pytake.messages.contracts import MessageInput
from pytake.messages.first_tasks import FirstTasks
from pytake.messages.tables import Message
from tests.stack import Stack, fresh_recipient, make_settings, running_stack


@pytest.fixture(scope="module")
async def redriving(
    own_temporal_address: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Stack]:
    settings = make_settings(tmp_path_factory.mktemp("redrive"), PYTAKE_WAIT_CODES="redrive")
    async with running_stack(settings, own_temporal_address) as stack:
        yield stack


async def test_a_failure_reported_later_is_scheduled_again_after_the_wait(redriving: Stack) -> None:
    to = fresh_recipient()
    await redriving.fault("status_failed", code=131049, to=to, count=1)
    sent = await redriving.send(to=to)
    view = await redriving.until(sent["message_id"], "scheduled")
    wait = datetime.fromisoformat(view["scheduled_for"]) - datetime.now(UTC)
    assert timedelta(hours=23, minutes=58) < wait <= timedelta(hours=24)
    handle = redriving.client.get_workflow_handle(sent["message_id"])
    await handle.signal("resume")
    view = await redriving.until(sent["message_id"], "read")
    assert len(await redriving.accepted(biz_opaque_callback_data=sent["message_id"])) == 2


async def test_a_failed_redrive_is_made_up_for_when_meta_repeats_the_request(
    redriving: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    redrive, away = Acceptor.redrive, [RPCError("away", RPCStatusCode.UNAVAILABLE, b"")]

    async def sometimes(self: Acceptor, row: Message, delay: timedelta) -> MessageInput:
        if away:
            raise away.pop()
        return await redrive(self, row, delay)

    monkeypatch.setattr(Acceptor, "redrive", sometimes)
    to = fresh_recipient()
    await redriving.fault("status_failed", code=131049, to=to, count=1)
    message_id = (await redriving.send(to=to))["message_id"]
    await redriving.until(message_id, "scheduled", seconds=15)
    await redriving.client.get_workflow_handle(message_id).terminate()


async def test_a_redrive_with_a_delayed_start_shows_as_scheduled_and_can_be_cancelled(
    redriving: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first task comes when it is due, a day later."""
    monkeypatch.setattr(FirstTasks, "delay", lambda _, ahead: ahead)
    to = fresh_recipient()
    await redriving.fault("status_failed", code=131049, to=to, count=1)
    message_id = (await redriving.send(to=to))["message_id"]
    await redriving.until(message_id, "scheduled", seconds=8)
    cancelled = await redriving.api.post(f"/api/v1/queue/message/{message_id}/cancel")
    assert cancelled.json()["status"] == "cancelled"
    await redriving.until(message_id, "cancelled")


async def test_a_refusal_at_once_holds_the_message_for_the_wait(redriving: Stack) -> None:
    to = fresh_recipient()
    await redriving.fault("error", code=132015, to=to, count=1)
    sent = await redriving.send(to=to, max_attempts=1)
    view = await redriving.until(sent["message_id"], "held")
    wait = datetime.fromisoformat(view["next_retry_at"]) - datetime.now(UTC)
    assert timedelta(hours=5, minutes=58) < wait <= timedelta(hours=6)
    await redriving.client.get_workflow_handle(sent["message_id"]).signal("resume")
    view = await redriving.until(sent["message_id"], "read")
    assert view["attempts"] == 1
