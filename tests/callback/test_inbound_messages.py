"""Contacts' messages, from Meta's request to the contact's window."""

import time
from typing import Any
from uuid import uuid4

from sqlmodel import Session

from pytake.callback.events import callback_events
from pytake.callback.owners import Owners
from pytake.callback.parse import parse
from pytake.clock import now
from pytake.contacts import opt_outs, windows
from pytake.conversations.tables import InboundMessage
from pytake.messages import store as messages
from pytake.numbers import owners as number_owners
from pytake.numbers.owners import Options
from pytake.numbers.tables import PhoneNumber
from tests.callback.posting import envelope, post, said, status, statuses, text
from tests.stack import Stack, fresh_number, fresh_recipient


async def test_messages_to_an_unregistered_number_are_stored_but_not_acted_on(stack: Stack) -> None:
    number, sender = fresh_number(), fresh_recipient()
    message, receipt = text(sender), status(f"wamid.{uuid4().hex}", "delivered")
    tier = {"metadata": {"phone_number_id": number}, "current_limit": "TIER_250"}
    before = await stack.stats()
    assert (await post(stack, envelope(said(number, message)))).json()["messages"] == 1
    assert (await post(stack, envelope(statuses(receipt, number=number)))).json()["statuses"] == 1
    await post(stack, envelope(tier, field="phone_number_quality_update"))
    with Session(stack.database.engine) as session:
        kept = session.get_one(InboundMessage, message["id"])
        assert (kept.tenant_id, kept.signalled_at is not None) == ("*", True)
        found = messages.get(session, f"wamid:{receipt['id']}")
        assert found is not None
        assert (found.tenant_id, found.status) == ("*", "delivered")
        assert session.get(PhoneNumber, number) is None
    assert await stack.database.read(windows.last_inbound_at, number, sender, None) is None
    assert (await stack.stats())["rate_limit"]["tier"] == before["rate_limit"]["tier"]

    async def alerts() -> list[dict[str, Any]]:
        listed = (await stack.api.get("/api/v1/whatsapp/alerts")).json()
        return [alert for alert in listed if alert["phone_number_id"] == number]

    await post(stack, envelope(said(number, text(sender))))
    (alert,) = await alerts()
    assert alert["kind"] == "number_unregistered"
    assert f"pytake number add {number}" in alert["advice"]
    options = Options(rate=80, portfolio_id=f"p{number}", tier="TIER_1K")
    await stack.database.write(number_owners.add, number, "t", options, options)
    assert await alerts() == []


def test_messages_to_an_unregistered_number_raise_no_event() -> None:
    body = envelope(said("1", text("5511")), said("2", text("5511")))
    inbound, at = parse(body, now()).inbound, now()
    raised = list(callback_events(inbound, [], [], Owners({"1": "acme"}, "account"), at))
    assert [(event.tenant_id, event.data["phone_number_id"]) for event in raised] == [("acme", "1")]


async def test_group_messages_open_no_window_and_opt_nobody_out(stack: Stack) -> None:
    owner = f"t{uuid4().hex[:8]}"
    number, sender = await stack.register(tenant=owner), fresh_recipient()
    message = text(sender, group_id="g1", text={"body": "parar"})
    assert (await post(stack, envelope(said(number, message)))).json()["messages"] == 1
    assert await stack.database.read(windows.last_inbound_at, number, sender, None) is None
    with Session(stack.database.engine) as session:
        kept = session.get_one(InboundMessage, message["id"])
        assert (kept.group_id, kept.signalled_at is not None) == ("g1", True)
        assert opt_outs.get(session, owner, sender) is None


async def test_a_message_of_the_year_1_mutes_nobody(stack: Stack) -> None:
    number, sender = await stack.register(), fresh_recipient()
    for seconds in ("-62135596800", str(int(time.time()))):
        body = envelope(said(number, text(sender, timestamp=seconds)))
        assert (await post(stack, body)).status_code == 200
    last = await stack.database.read(windows.last_inbound_at, number, sender, None)
    assert last is not None
    assert time.time() - last.timestamp() < 60


async def test_both_spellings_and_user_ids_are_contacts(stack: Stack) -> None:
    at = int(time.time())
    number = await stack.register()
    value = {
        "metadata": {"phone_number_id": number},
        "contacts": [
            {"wa_id": "556194013828", "profile": {"name": "Ana"}},
            {"user_id": "BR.abc1", "profile": {"name": "Bia"}},
        ],
        "messages": [
            {
                "from": "556194013828",
                "id": f"wamid.a{at}",
                "timestamp": str(at),
                "type": "text",
                "text": {"body": "oi"},
            },
            {
                "from_user_id": "BR.abc1",
                "id": f"wamid.b{at}",
                "timestamp": str(at),
                "type": "text",
                "text": {"body": "oi"},
            },
        ],
    }
    assert (await post(stack, envelope(value))).json()["messages"] == 2
    assert (
        await stack.database.read(windows.last_inbound_at, number, "5561994013828", None)
        is not None
    )
    assert await stack.database.read(windows.last_inbound_at, number, "BR.abc1", None) is not None
