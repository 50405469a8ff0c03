"""A message from the request until it is read."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.exc import OperationalError

from pytake.access.principals import Principal
from pytake.messages.accept import Acceptor, NewMessage
from tests.hooks import configure, tenant
from tests.receiver import Receiver
from tests.stack import EXAMPLE, Stack, eventually, fresh_recipient


async def test_the_example_of_the_readme_is_sent_delivered_and_read(stack: Stack) -> None:
    response = await stack.api.post("/api/v1/queue/send", json=EXAMPLE)
    assert response.status_code == 202
    body = response.json()
    assert body["success"] is True
    assert body["status"] == "queued"
    assert response.headers["location"] == f"/api/v1/queue/message/{body['message_id']}"
    view = await stack.until(body["message_id"], "read", seconds=15)
    accepted = await stack.accepted_once(body["message_id"])
    assert view["wamid"] == accepted["wamid"]
    assert view["attempts"] == 1
    assert view["pricing_category"] == "marketing"
    assert view["billable"] is True
    assert [entry["event"] for entry in view["timeline"]] == [
        "queued",
        "accepted",
        "sent",
        "delivered",
        "read",
    ]
    assert accepted["to"] == "5561994013828"
    assert accepted["payload"]["to"] == "+5561994013828"
    assert accepted["payload"]["template"] == {
        "name": "pytake_saudacao",
        "language": {"code": "pt_BR"},
    }


CONTENTS = {
    "text": {"body": "Olá, tudo bem? 🎉", "preview_url": True},
    "media": {
        "media_type": "document",
        "url": "https://example.com/a.pdf",
        "caption": "x",
        "filename": "a.pdf",
    },
    "interactive": {
        "body": "Escolha",
        "buttons": [{"id": "1", "title": "Sim"}, {"id": "2", "title": "Não"}],
    },
    "location": {"latitude": -15.8, "longitude": -47.9, "name": "Brasília"},
    "contacts": {
        "contacts": [
            {
                "name": {"formatted_name": "Ana", "first_name": "Ana"},
                "phones": [{"phone": "+5561999"}],
            }
        ]
    },
    "reaction": {"message_id": "wamid.x", "emoji": "👍"},
    "template": {"name": "pedido", "language": "pt_BR", "parameters": ["Ana", "123"]},
}
INTERACTIVE = {
    "list": {
        "body": "Menu",
        "footer": "PyTake",
        "list": {
            "button": "Ver",
            "sections": [{"title": "A", "rows": [{"id": "r1", "title": "Um", "description": "d"}]}],
        },
    },
    "cta": {
        "body": "Veja",
        "header": {"type": "image", "url": "https://example.com/a.png"},
        "cta_url": {"display_text": "Abrir", "url": "https://example.com"},
    },
}


@pytest.mark.parametrize(
    ("message_type", "content"),
    [*CONTENTS.items(), *(("interactive", content) for content in INTERACTIVE.values())],
)
async def test_every_kind_of_content_passes_metas_checks(
    stack: Stack, message_type: str, content: dict[str, object]
) -> None:
    body = await stack.send(
        to=fresh_recipient(),
        message_type=message_type,
        content=content,
        check_window=False,
        reply_to="wamid.before",
    )
    await stack.until(body["message_id"], "sent", "delivered", "read")
    accepted = await stack.accepted_once(body["message_id"])
    assert accepted["payload"]["context"] == {"message_id": "wamid.before"}


async def test_a_message_can_be_sent_to_a_user_id(stack: Stack) -> None:
    sent = await stack.send(to="BR.abcd1234")
    await stack.until(sent["message_id"], "sent", "delivered", "read")
    accepted = await stack.accepted_once(sent["message_id"])
    assert accepted["payload"]["recipient"] == "BR.abcd1234"
    assert "to" not in accepted["payload"]


async def test_uploaded_media_is_sent_by_its_id(stack: Stack) -> None:
    upload = await stack.sandbox.post(
        f"/v25.0/{stack.settings.whatsapp.phone_number_id}/media",
        files={"file": ("a.png", b"png", "image/png")},
        headers={"Authorization": "Bearer x"},
    )
    media_id = upload.json()["id"]
    body = await stack.send(
        message_type="media",
        content={"media_type": "image", "id": media_id},
        check_window=False,
        to=fresh_recipient(),
    )
    await stack.until(body["message_id"], "sent", "delivered", "read")
    found = await stack.sandbox.get(f"/v25.0/{media_id}", headers={"Authorization": "Bearer x"})
    assert found.json()["file_size"] == 3


async def test_the_same_idempotency_key_is_the_same_message(stack: Stack) -> None:
    headers = {"Idempotency-Key": f"order-{fresh_recipient()}"}
    to = fresh_recipient()
    bodies = await asyncio.gather(*(stack.send(to=to, headers=headers) for _ in range(5)))
    assert len({body["message_id"] for body in bodies}) == 1
    message_id = bodies[0]["message_id"]
    await stack.until(message_id, "read")
    again = await stack.send(to=to, headers=headers)
    assert again["message_id"] == message_id
    await stack.accepted_once(message_id)
    other = await stack.send(to=to, headers=headers, priority="Low", expect=422)
    assert other["errors"][0]["field"] == "Idempotency-Key"


async def test_an_invalid_item_does_not_fail_the_batch(stack: Stack) -> None:
    good = {**EXAMPLE, "to": fresh_recipient()}
    items = [
        good,
        {**good, "to": "abc"},
        "nonsense",
        {**good, "surprise": 1},
        {**good, "to": fresh_recipient()},
    ]
    response = await stack.api.post("/api/v1/queue/send/batch", json={"messages": items})
    assert response.status_code == 202
    body = response.json()
    assert (body["accepted"], body["rejected"]) == (2, 3)
    assert [r["success"] for r in body["results"]] == [True, False, False, False, True]
    assert body["results"][1]["error"]["errors"][0]["field"] == "to"
    assert body["results"][3]["error"]["errors"][0]["field"] == "surprise"
    for result in (body["results"][0], body["results"][4]):
        await stack.until(result["message_id"], "sent", "delivered", "read")


@pytest.mark.one_database  # nothing of a message is in it before it is sent
async def test_a_batch_of_500_is_accepted_and_one_of_501_is_not(stack: Stack) -> None:
    later = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    items = [{**EXAMPLE, "to": fresh_recipient(), "scheduled_for": later} for _ in range(501)]
    refused = await stack.api.post("/api/v1/queue/send/batch", json={"messages": items})
    assert refused.status_code == 422
    taken = await stack.api.post(
        "/api/v1/queue/send/batch", json={"messages": items[:500]}, timeout=120
    )
    assert taken.json()["accepted"] == 500
    for result in taken.json()["results"]:
        await stack.client.get_workflow_handle(result["message_id"]).terminate("test over")


async def test_metadata_and_reply_are_returned_in_flight_and_after(stack: Stack) -> None:
    await stack.fault("latency", seconds=1.5, count=1)
    sent = await stack.send(to=fresh_recipient(), metadata={"pedido": "1234"}, reply_to="wamid.q")
    view = await stack.until(sent["message_id"], "processing")
    assert (view["metadata"], view["reply_to"], view["attempts"]) == (
        {"pedido": "1234"},
        "wamid.q",
        1,
    )
    view = await stack.until(sent["message_id"], "read")
    assert (view["metadata"], view["reply_to"]) == ({"pedido": "1234"}, "wamid.q")


async def test_messages_are_listed_by_status_recipient_priority_and_time_in_pages(
    stack: Stack,
) -> None:
    to = fresh_recipient()
    start = datetime.now(UTC).isoformat()
    ids = [(await stack.send(to=to, priority="low"))["message_id"] for _ in range(5)]
    waiting = (
        await stack.send(to=to, scheduled_for=(datetime.now(UTC) + timedelta(hours=1)).isoformat())
    )["message_id"]
    for message_id in ids:
        await stack.until(message_id, "read")

    async def collect(**params: object) -> list[str]:
        found: list[str] = []
        cursor = None
        while True:
            query = {**params, "limit": 2, **({"cursor": cursor} if cursor else {})}
            page = (await stack.api.get("/api/v1/queue/messages", params=query)).json()
            assert len(page["messages"]) <= 2
            found += [message["message_id"] for message in page["messages"]]
            cursor = page["next_cursor"]
            if cursor is None:
                return found

    async def all_there() -> bool:
        return sorted(await collect(recipient=to)) == sorted([*ids, waiting])

    await eventually(all_there, 10)
    assert await collect(recipient=to) == [waiting, *reversed(ids)]
    assert await collect(recipient=to, status="read") == list(reversed(ids))
    assert await collect(recipient=f"+{to}", status="scheduled") == [waiting]
    assert await collect(recipient=to, priority="High") == [waiting]
    assert await collect(recipient=to, status="read", since=start) == list(reversed(ids))
    assert await collect(recipient=to, until=start) == []
    await stack.api.post(f"/api/v1/queue/message/{waiting}/cancel")


@pytest.mark.parametrize("lane", ["direct", "queue"])
async def test_a_message_held_by_meta_is_shown_as_held_until_its_next_status(
    stack: Stack, receiver: Receiver, lane: str
) -> None:
    owner, to = tenant(), fresh_recipient()
    number = await stack.register(tenant=owner)
    path = f"/held/{owner}"
    await configure(stack, owner, receiver.script(path, 200), events=["message.sent"])
    if lane == "queue":  # a second attempt passes it
        await stack.fault("error", code=131016, count=1, to=to)
    await stack.fault("held", to=to)
    await stack.fault("status_withhold", to=to)
    before = (await stack.stats())["held_by_meta"]
    sent = await stack.send(to=to, phone_number_id=number, tenant_id=owner)
    message_id, held = sent["message_id"], "held_for_quality_assessment"
    view = await stack.until(message_id, held)
    assert view["wamid"] == (await stack.accepted_once(message_id))["wamid"]
    assert (await stack.stats())["held_by_meta"] == before + 1
    listed = await stack.api.get("/api/v1/queue/messages", params={"status": held, "recipient": to})
    assert [m["message_id"] for m in listed.json()["messages"]] == [message_id]
    cancelled = await stack.api.post(f"/api/v1/queue/message/{message_id}/cancel")
    assert cancelled.status_code == 409
    assert receiver.received[path] == []
    await stack.clear_faults()  # Meta releases it
    await stack.until(message_id, "sent", "delivered", "read")

    async def told() -> bool:
        return len(receiver.received[path]) == 1

    await eventually(told)
    assert (await stack.stats())["held_by_meta"] == before


async def test_a_batch_reports_each_item_when_the_database_fails_midway(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the client would send all of them again, including those accepted."""
    accept = Acceptor.accept

    async def sometimes(self: Acceptor, new: NewMessage, principal: Principal) -> tuple[str, str]:
        if new.metadata:
            raise OperationalError("SELECT", {}, Exception("gone"))
        return await accept(self, new, principal)

    monkeypatch.setattr(Acceptor, "accept", sometimes)
    good = {**EXAMPLE, "to": fresh_recipient()}
    batch = {"messages": [good, {**good, "metadata": {"a": "b"}}]}
    answer = await stack.api.post("/api/v1/queue/send/batch", json=batch)
    assert answer.status_code == 202, answer.text
    first, second = answer.json()["results"]
    assert first["success"]
    assert second["error"]["status"] == 503


async def test_a_repeated_request_is_answered_as_before_even_after_it_expired(
    stack: Stack,
) -> None:
    """The first response was lost, but the message was accepted, even if a new one would be refused now."""
    headers = {"Idempotency-Key": f"late-{fresh_recipient()}"}
    expires_at = (datetime.now(UTC) + timedelta(seconds=0.6)).isoformat()
    first = await stack.send(headers=headers, expires_at=expires_at)
    await asyncio.sleep(0.6)
    assert await stack.send(headers=headers, expires_at=expires_at) == first
    await stack.send(expires_at=expires_at, expect=422)
    await stack.send(headers={"Idempotency-Key": "new"}, expires_at=expires_at, expect=422)
