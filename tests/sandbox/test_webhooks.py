"""The sandbox's webhooks and nodes say the same of a number and of its contacts, as Meta's do."""

import re
from typing import Any

import httpx

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
