"""The sandbox's webhooks and nodes say the same of a number and of its contacts, as Meta's do."""

import re
from datetime import UTC, datetime
from typing import Any

import httpx

from pytake.callback.parse import parse
from pytake.contacts.identities import is_user_id
from tests.stack import eventually, fresh_number, fresh_recipient

Callbacks = tuple[str, list[dict[str, Any]]]


async def test_webhooks_carry_the_number_that_the_node_shows(
    client: httpx.AsyncClient, callbacks: Callbacks
) -> None:
    number, given = fresh_number(), fresh_number()
    shown = {"display_phone_number": "+1 555-078-3881"}
    await client.patch(f"/sandbox/numbers/{given}", json=shown)
    for node in (number, given):
        body = {"from": fresh_recipient(), "text": "oi", "phone_number_id": node}
        await client.post("/sandbox/inbound", json=body)

    async def came() -> bool:
        return len(callbacks[1]) == 2

    await eventually(came, 10)
    for value in callbacks[1]:
        metadata = value["metadata"]
        node = (await client.get(f"/v25.0/{metadata['phone_number_id']}")).json()
        digits = re.sub(r"\D", "", node["display_phone_number"])
        assert 8 <= len(digits) <= 15
        assert metadata["display_phone_number"] == digits
    metadata = {value["metadata"]["phone_number_id"]: value["metadata"] for value in callbacks[1]}
    assert metadata[given]["display_phone_number"] == "15550783881"


async def _statuses(
    client: httpx.AsyncClient, callbacks: Callbacks, count: int, **address: str
) -> dict[str, dict[str, Any]]:
    """The values with a status of one message, by the status."""
    body = {"messaging_product": "whatsapp", "type": "text", "text": {"body": "oi"}, **address}
    answer = await client.post(f"/v25.0/{fresh_number()}/messages", json=body)
    (wamid,) = (message["id"] for message in answer.json()["messages"])
    found: dict[str, dict[str, Any]] = {}

    async def came() -> bool:
        for value in callbacks[1]:
            found.update((s["status"], value) for s in value["statuses"] if s["id"] == wamid)
        return len(found) == count

    await eventually(came, 10)
    return found


async def test_contacts_have_a_user_id_wherever_meta_gives_one(
    client: httpx.AsyncClient, callbacks: Callbacks
) -> None:
    delays = dict.fromkeys(("sent", "delivered", "read", "failed"), 0.2)
    delays |= {"sent": 0.0, "read": 0.4}
    await client.patch("/sandbox/limits", json={"status_delays": delays})
    phone = fresh_recipient()
    await client.post("/sandbox/inbound", json={"from": phone, "text": "oi", "name": "Ana"})

    async def came() -> bool:
        return len(callbacks[1]) == 1

    await eventually(came, 10)
    value = callbacks[1].pop()
    user = value["contacts"][0]["user_id"]
    assert is_user_id(user)
    assert user.startswith("BR.")
    ana = {"profile": {"name": "Ana"}, "wa_id": phone, "user_id": user}
    assert value["contacts"] == [ana]
    assert (value["messages"][0]["from"], value["messages"][0]["from_user_id"]) == (phone, user)
    (inbound,) = _parsed(value).inbound
    assert (inbound.wa_id, inbound.user_id, inbound.name) == (phone, user, "Ana")

    to_phone = await _statuses(client, callbacks, 3, to=phone)
    for value in to_phone.values():
        assert value["contacts"] == [ana]
        assert {_recipient(status) for status in value["statuses"]} == {(phone, user)}
    to_user = await _statuses(client, callbacks, 3, recipient=user)
    for value in to_user.values():
        assert value["contacts"] == [{"profile": {"name": "Ana"}, "user_id": user}]
        assert {_recipient(status) for status in value["statuses"]} == {(None, user)}
        assert {receipt.recipient for receipt in _parsed(value).receipts} == {user}

    for address, named in (({"to": phone}, (phone, None)), ({"recipient": user}, (None, user))):
        fault = {"kind": "status_failed", "code": 131026, "count": 1}
        await client.post("/sandbox/faults", json=fault)
        failed = (await _statuses(client, callbacks, 2, **address))["failed"]
        assert "contacts" not in failed
        assert [_recipient(s) for s in failed["statuses"]] == [named]


async def test_who_writes_by_user_id_shows_no_phone_number(
    client: httpx.AsyncClient, callbacks: Callbacks
) -> None:
    await client.post("/sandbox/inbound", json={"from": "BR.abc1", "text": "oi", "name": "Bia"})

    async def came() -> bool:
        return len(callbacks[1]) == 1

    await eventually(came, 10)
    (value,) = callbacks[1]
    assert value["contacts"] == [{"profile": {"name": "Bia"}, "user_id": "BR.abc1"}]
    assert "from" not in value["messages"][0]
    (inbound,) = _parsed(value).inbound
    assert (inbound.contact_key, inbound.wa_id, inbound.name) == ("BR.abc1", None, "Bia")


def _recipient(status: dict[str, Any]) -> tuple[str | None, str | None]:
    return status.get("recipient_id"), status.get("recipient_user_id")


def _parsed(value: dict[str, Any]) -> Any:
    changes = [{"field": "messages", "value": value}]
    return parse({"entry": [{"id": "1", "changes": changes}]}, datetime.now(UTC))
