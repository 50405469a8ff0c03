"""Updates about accounts and templates: kept once, and those that matter become events and alerts."""

import json
import time
from typing import Any
from uuid import uuid4

from tests.callback.posting import envelope, post, updates_of
from tests.hooks import configure, tenant
from tests.receiver import Receiver
from tests.stack import Stack, eventually


async def test_unknown_fields_are_kept_and_acknowledged(stack: Stack) -> None:
    note = f"n{time.time_ns()}"
    response = await post(
        stack, envelope({"event": "NEW\0", "note": note}, field="account_settings_update")
    )
    assert response.status_code == 200
    updates = (await stack.api.get("/api/v1/whatsapp/updates")).json()["updates"]
    kept = [update for update in updates if update["field"] == "account_settings_update"]
    assert any(update["payload"]["note"] == note for update in kept)
    assert all(update["problem"] is None for update in kept)


async def test_the_same_update_for_two_accounts_at_two_times_counts_as_four(stack: Stack) -> None:
    name = f"t{uuid4().hex}"
    paused, approved = (
        {"event": event, "message_template_name": name, "message_template_id": 1}
        for event in ("PAUSED", "APPROVED")
    )
    sent = [
        envelope(value, field="message_template_status_update", account=account, at=at)
        for value, account, at in (
            (paused, "101", 1_760_000_000),
            (approved, "101", 1_760_000_100),
            (paused, "101", 1_760_000_200),
            (paused, "102", 1_760_000_200),
        )
    ]
    for body in (*sent, *sent):  # each is repeated, as Meta does
        assert (await post(stack, body)).status_code == 200
    kept = [
        (update["account_id"], update["payload"]["event"], update["sent_at"])
        for update in await updates_of(stack, "message_template_status_update")
        if update["payload"]["message_template_name"] == name
    ]
    assert sorted(kept) == [
        ("101", "APPROVED", "2025-10-09T08:55:00Z"),
        ("101", "PAUSED", "2025-10-09T08:53:20Z"),
        ("101", "PAUSED", "2025-10-09T08:56:40Z"),
        ("102", "PAUSED", "2025-10-09T08:56:40Z"),
    ]


async def test_a_restricted_account_raises_an_event_and_an_alert_at_once(
    stack: Stack, receiver: Receiver
) -> None:
    owner = tenant()
    account = f"p{await stack.register(tenant=owner)}"
    path = f"/account/{owner}"
    await configure(stack, owner, receiver.script(path, 200), events=["account.restricted"])
    value = {"event": "ACCOUNT_RESTRICTION", "restriction_info": [{"restriction_type": "R"}]}
    body = envelope(value, field="account_update", account=account, at=int(time.time()))
    for _ in range(2):
        assert (await post(stack, body)).status_code == 200

    async def alerts() -> list[dict[str, Any]]:
        listed = (await stack.api.get("/api/v1/whatsapp/alerts")).json()
        return [alert for alert in listed if account in alert["title"]]

    (alert,) = await alerts()
    assert (alert["kind"], alert["severity"]) == ("account_restricted", "critical")
    assert alert["advice"]

    async def told() -> bool:
        return len(receiver.received[path]) > 0

    await eventually(told)
    (arrived,) = receiver.received[path]
    event = json.loads(arrived.body)
    assert event["type"] == "account.restricted"
    assert (event["data"]["account_id"], event["data"]["update"]) == (account, value)
    types = (await stack.api.get("/api/v1/webhooks/event-types")).json()
    assert "account_id" in {t["type"]: t for t in types}[event["type"]]["schema"]["properties"]
    end = f"/api/v1/whatsapp/alerts/{alert['id']}/end"
    assert (await stack.api.post(end)).status_code == 204
    assert await alerts() == []
    assert (await stack.api.post("/api/v1/whatsapp/alerts/999999999/end")).status_code == 404
