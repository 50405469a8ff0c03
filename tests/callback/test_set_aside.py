"""What cannot be read or stored is set aside, and the rest of the request is used."""

import time
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text as sql
from sqlalchemy.exc import OperationalError
from sqlmodel import Session

from pytake.conversations import inbox
from pytake.conversations.tables import InboundMessage
from pytake.messages import receipts
from pytake.messages import store as messages
from pytake.numbers import store as numbers
from tests.callback.posting import envelope, post, said, status, statuses, text
from tests.stack import Stack, fresh_recipient


async def test_a_malformed_update_is_set_aside_and_the_rest_is_used(stack: Stack) -> None:
    wamid = f"wamid.good{time.time_ns()}"
    message_id = f"msg_{time.time_ns()}"
    broken: list[Any] = [
        None,
        5,
        "x",
        {},
        status("w", "exploded"),
        {**status("w", "sent"), "timestamp": "soon"},
        {**status("w", "sent"), "id": 7},
    ]
    body = envelope(
        statuses(*broken, status(wamid, "sent", biz_opaque_callback_data=message_id)),
        {
            "metadata": {"phone_number_id": "42"},
            "messages": [{"id": "x"}, {"from": "1", "id": "y", "type": "text"}],
        },
    )
    body["entry"] += [None, {"changes": 3}, {"changes": [7, {"field": "x", "value": None}]}]
    response = await post(stack, body)
    assert response.status_code == 200
    assert response.json()["statuses"] == 1
    row = await stack.database.read(messages.get, message_id)
    assert row is not None
    assert row.status == "sent"
    aside = (await stack.api.get("/api/v1/whatsapp/updates", params={"problems": True})).json()
    problems = {update["problem"] for update in aside["updates"]}
    assert {
        "not an object",
        "timestamp is not in unix seconds",
        "changes is not a list",
    } <= problems


async def set_aside(stack: Stack, number: str) -> list[dict[str, Any]]:
    listed = (await stack.api.get("/api/v1/whatsapp/set-aside", params={"limit": 100})).json()
    return [part for part in listed["parts"] if part["phone_number_id"] == number]


async def test_an_outage_while_parts_are_stored_one_by_one_gets_500_and_sets_nothing_aside(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    number, message = await stack.register(), text(fresh_recipient())

    def fails(_session: Session, items: list[Any], *_args: object) -> None:
        if len(items) > 1:
            raise ValueError("one of them cannot be stored")
        if items:
            raise OperationalError("INSERT", {}, Exception("disk full"))

    both = statuses(status("wamid.x", "sent"), status("wamid.y", "sent"), number=number)
    with monkeypatch.context() as faults:
        faults.setattr("pytake.messages.receipts.apply", fails)
        response = await post(stack, envelope(said(number, message), both))
    assert response.status_code == 500
    assert await set_aside(stack, number) == []
    with Session(stack.database.engine) as session:
        assert session.get(InboundMessage, message["id"]) is None


async def test_only_parts_that_cannot_be_stored_are_set_aside_and_they_can_be_retried(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of 40 parts cannot be stored: the other 38 are."""
    number, sender = await stack.register(), fresh_recipient()
    good = [text(sender) for _ in range(20)]
    ids = [f"msg_{time.time_ns()}{i}" for i in range(18)]
    bad = text(sender, text={"body": "a bad one"})
    receipt = status(f"wamid.{uuid4().hex}", "read", recipient_id="bad")
    body = envelope(
        said(number, *good[:7], bad, *good[7:]),
        statuses(
            *(status(f"wamid.{i}", "sent", biz_opaque_callback_data=i) for i in ids),
            receipt,
            number=number,
        ),
    )
    insert, apply = inbox.store_inbound, receipts.apply

    def broken(session: Session, items: list[Any], *args: Any, **more: Any) -> Any:
        if any(item.wamid == bad["id"] for item in items):
            session.execute(sql("INSERT INTO contact (phone_number_id) VALUES ('x')"))
        return insert(session, items, *args, **more)

    def raises(session: Session, items: list[Any], *args: Any) -> Any:
        if any(item.recipient == "bad" for item in items):
            raise ValueError(receipt["id"])
        return apply(session, items, *args)

    with monkeypatch.context() as faults:
        faults.setattr("pytake.conversations.inbox.store_inbound", broken)
        faults.setattr("pytake.messages.receipts.apply", raises)
        for _ in range(2):  # and once more, as Meta may
            assert (await post(stack, body)).status_code == 200
        parts = {part["kind"]: part for part in await set_aside(stack, number)}
        assert sorted(parts) == ["messages", "statuses"]
        assert receipt["id"] not in parts["statuses"]["reason"]
        again = f"/api/v1/whatsapp/set-aside/{parts['messages']['id']}/replay"
        refused = await stack.api.post(again)
        assert refused.status_code == 409, refused.text
        assert [part["tries"] for part in await set_aside(stack, number)].count(1) == 1
    with Session(stack.database.engine) as session:
        assert all(session.get(InboundMessage, item["id"]) for item in good)
        assert session.get(InboundMessage, bad["id"]) is None
        assert all(messages.get(session, message_id) for message_id in ids)
        (alert,) = [a for a in numbers.open_alerts(session, "*") if a.kind == "callback_set_aside"]
        assert "set-aside" in alert.advice
    for part in parts.values():
        response = await stack.api.post(f"/api/v1/whatsapp/set-aside/{part['id']}/replay")
        assert response.status_code == 204, response.text
    assert await set_aside(stack, number) == []
    with Session(stack.database.engine) as session:
        kept = session.get_one(InboundMessage, bad["id"])
        assert (kept.payload, kept.phone_number_id) == (bad, number)
        found = messages.get(session, f"wamid:{receipt['id']}")
        assert found is not None
        assert found.status == "read"
        assert "callback_set_aside" not in [a.kind for a in numbers.open_alerts(session, "*")]


async def test_a_request_is_not_acknowledged_when_set_aside_is_full(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    number, good, bad = await stack.register(), text("5511"), text("5511")
    insert = inbox.store_inbound

    def broken(session: Session, items: list[Any], *args: Any, **more: Any) -> Any:
        if any(item.wamid == bad["id"] for item in items):
            raise KeyError("x")
        return insert(session, items, *args, **more)

    with monkeypatch.context() as faults:
        faults.setattr("pytake.conversations.inbox.store_inbound", broken)
        faults.setattr("pytake.callback.set_aside.MAX_ROWS", 0)
        assert (await post(stack, envelope(said(number, good, bad)))).status_code == 500
    with Session(stack.database.engine) as session:
        assert session.get(InboundMessage, good["id"]) is not None
    assert (await post(stack, envelope(said(number, good, bad)))).status_code == 200
    with Session(stack.database.engine) as session:
        assert session.get(InboundMessage, bad["id"]) is not None
