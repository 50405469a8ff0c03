"""The endpoints of rules and business hours, and what ``POST /process`` says of them."""

from typing import Any

import pytest
from temporalio.service import RPCError, RPCStatusCode

from pytake.access import keys
from pytake.clock import now
from pytake.messages import accept
from pytake.numbers import owners as number_owners
from tests.e2e.rules import call, rule
from tests.hooks import tenant
from tests.stack import (
    Stack,
    fresh_number,
    fresh_recipient,
)


async def test_process_decides_and_leaves_no_trace(stack: Stack) -> None:
    owner = tenant()
    number = await stack.register(tenant=owner)
    body = rule(["vale"], owner, id="vale", max_uses_per_contact=1)
    await call(stack, "POST", "/rules", 201, json=body)
    contact = fresh_recipient()
    asked = {
        "from": contact,
        "message": "vale",
        "tenant_id": owner,
        "phone_number_id": number,
        "explain": True,
    }
    for _ in range(2):
        result = await call(stack, "POST", "/process", json=asked)
        assert result["rule"]["id"] == "vale"
        assert result["action"]["text"] == "ok"
        assert result["messages"][0]["message_id"] is None
        assert result["delivered"] is False
        why = {item["rule_id"]: item for item in result["explain"]}
        assert why["vale"]["matched"] is True
        assert why["menu"]["reason"] == "the message does not match its trigger"
    sent = await call(stack, "POST", "/process", json={**asked, "deliver": True})
    await stack.until(sent["messages"][0]["message_id"], "read")
    result = await call(stack, "POST", "/process", json=asked)
    why = {item["rule_id"]: item["reason"] for item in result["explain"]}
    assert why["vale"] == "the contact got it 1 times, of at most 1"
    first = await call(
        stack, "POST", "/process", json={**asked, "message": "oi", "is_first_message": True}
    )
    assert first["rule"]["id"] == "boas-vindas"
    leaving = await call(stack, "POST", "/process", json={**asked, "message": "sair"})
    assert leaving["rule"]["id"] == "optout"
    state = await call(
        stack, "GET", f"/contacts/{contact}", params={"tenant_id": owner, "phone_number_id": number}
    )
    assert state["opt_out"]["opted_out"] is False


async def test_an_answer_is_queued_as_far_as_temporal_allows(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error after the first message would have the caller send that again; before it, nothing counts."""
    owner, contact = tenant(), fresh_recipient()
    number = await stack.register(tenant=owner)
    steps = [{"action": "SendMessage", "text": text} for text in ("um", "dois")]
    response = {"action": "Sequence", "actions": steps}
    await call(stack, "POST", "/rules", 201, json=rule(["vale"], owner, id="v", response=response))
    ours = {"tenant_id": owner, "phone_number_id": number}
    asked = {"from": contact, "message": "vale", "deliver": True, **ours}
    start, starts, down_from = accept.start_message, [0], [0]

    async def goes_down(*args: Any) -> None:
        starts[0] += 1
        if starts[0] > down_from[0]:
            raise RPCError("down", RPCStatusCode.UNAVAILABLE, b"")
        await start(*args)

    monkeypatch.setattr(accept, "start_message", goes_down)
    await call(stack, "POST", "/process", 503, json=asked)
    assert (await call(stack, "GET", f"/contacts/{contact}", params=ours))["uses"] == []
    down_from[0] = starts[0] + 1
    result = await call(stack, "POST", "/process", json=asked)
    first, second = (message["message_id"] for message in result["messages"])
    assert (second, result["delivered"]) == (None, True)
    assert result["reason"] == "the messages without an id could not be queued"
    await stack.until(first, "sent")
    uses = (await call(stack, "GET", f"/contacts/{contact}", params=ours))["uses"]
    assert [(used["rule_id"], used["count"]) for used in uses] == [("v", 1)]


async def test_rules_are_created_changed_and_deleted(stack: Stack) -> None:
    owner = {"tenant_id": tenant()}
    listed = (await call(stack, "GET", "/rules", params=owner))["rules"]
    assert {"boas-vindas", "menu", "horario", "atendente", "fora-do-horario", "nao-entendi"} == {
        r["id"] for r in listed
    }
    made = await call(stack, "POST", "/rules", 201, json=rule(["x"], owner["tenant_id"]))
    path = f"/rules/{made['id']}"
    assert await call(stack, "GET", path, params=owner) == made
    changed = await call(stack, "PUT", path, params=owner, json={**made, "priority": 7})
    assert changed == {**made, "priority": 7}
    assert (await call(stack, "POST", f"{path}/toggle", params=owner))["active"] is False
    assert (await call(stack, "POST", f"{path}/toggle", params=owner, json={"active": False}))[
        "active"
    ] is False
    inactive = await call(stack, "GET", "/rules", params={**owner, "active": False})
    assert [r["id"] for r in inactive["rules"]] == [made["id"]]
    await call(stack, "DELETE", path, 204, params=owner)
    for method in ("GET", "DELETE"):
        await call(stack, method, path, 404, params=owner)
    await call(stack, "PUT", path, 404, params=owner, json=made)
    await call(stack, "POST", f"{path}/toggle", 404, params=owner)
    await call(stack, "PUT", path, 422, params=owner, json={**made, "id": "other"})
    # What was deleted of the starting set does not come back.
    await call(stack, "DELETE", "/rules/menu", 204, params=owner)
    assert "menu" not in {
        r["id"] for r in (await call(stack, "GET", "/rules", params=owner))["rules"]
    }
    problem = await call(
        stack,
        "POST",
        "/rules",
        422,
        json=rule(["x"], "t", trigger={"type": "Pattern", "pattern": "a(b"}),
    )
    assert problem["errors"] == [
        {
            "field": "trigger.pattern",
            "message": "not a valid regular expression: missing ) at character 2",
        }
    ]


async def test_hours_are_the_numbers_own_or_the_tenants(stack: Stack) -> None:
    owner = tenant()
    number = await stack.register(tenant=owner)
    params = {"tenant_id": owner}
    ours = {**params, "phone_number_id": number}
    default = await call(stack, "GET", "/business-hours", params=ours)
    assert (default["configured"], default["timezone"]) == (False, "America/Sao_Paulo")
    night = {
        "weekly": {"friday": [{"start": "18:00", "end": "02:00"}]},
        "timezone": "America/Manaus",
    }
    await call(stack, "PUT", "/business-hours", params=params, json=night)
    assert (await call(stack, "GET", "/business-hours", params=ours))[
        "timezone"
    ] == "America/Manaus"
    always = {
        "weekly": {
            d: [{"start": "00:00", "end": "24:00"}]
            for d in ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
        },
        "holidays": None,
    }
    view = await call(stack, "PUT", "/business-hours", params=ours, json=always)
    assert (view["open_now"], view["phone_number_id"], view["configured"]) == (True, number, True)
    assert (await call(stack, "GET", "/business-hours", params=params))[
        "timezone"
    ] == "America/Manaus"
    problem = await call(
        stack, "PUT", "/business-hours", 422, params=ours, json={"timezone": "Brasília"}
    )
    assert problem["errors"][0]["field"] == "timezone"
    # A page of hours can be put back as it was got.
    shown = {
        k: v for k, v in view.items() if k in ("timezone", "weekly", "holidays", "dates", "away")
    }
    assert await call(stack, "PUT", "/business-hours", params=ours, json=shown) == view | {
        "opens_at": (await call(stack, "GET", "/business-hours", params=ours))["opens_at"]
    }


async def test_a_rule_is_for_a_number_of_its_tenant_only(stack: Stack) -> None:
    owner, other = tenant(), tenant()
    ours, theirs = await stack.register(tenant=owner), await stack.register(tenant=other)
    key, text = await stack.database.write(
        keys.create, tenant_id=owner, admin=False, name="k", now=now()
    )
    headers = {"Authorization": f"Bearer {text}"}
    try:
        answers_to = {}
        for number in (theirs, fresh_number()):
            body = rule(["x"], owner, id="mine", phone_number_id=number)
            problem = await call(stack, "POST", "/rules", 422, json=body, headers=headers)
            answers_to[number] = (problem["detail"], problem["errors"])
            assert problem["errors"][0]["field"] == "phone_number_id"
        # Whether the number is somebody's is not told.
        assert len({str(answer) for answer in answers_to.values()}) == 1
        body = rule(["x"], owner, id="mine", phone_number_id=ours)
        made = await call(stack, "POST", "/rules", 201, json=body, headers=headers)
        changed = {**made, "phone_number_id": theirs}
        await call(stack, "PUT", "/rules/mine", 422, json=changed, headers=headers)
        shown = await call(stack, "GET", "/rules/mine", headers=headers)
        assert (shown["phone_number_id"], shown["problem"]) == (ours, None)
        await stack.database.write(number_owners.share, theirs, owner)
        await call(stack, "PUT", "/rules/mine", json=changed, headers=headers)
    finally:
        await stack.database.write(keys.revoke, key.id, now())


async def test_limits_on_rules_are_reported_on_save(stack: Stack) -> None:
    owner = tenant()
    await stack.register(tenant=owner)
    for index in range(6):
        words = [f"{index} {number} ".ljust(200, "x") for number in range(200)]
        await call(stack, "POST", "/rules", 201, json=rule(words, owner, id=f"r{index}"))
    words = [f"7 {number} ".ljust(200, "x") for number in range(200)]
    problem = await call(stack, "POST", "/rules", 422, json=rule(words, owner))
    assert problem["errors"][0]["field"] == "trigger.words"
    assert "262,144 bytes of words in all" in problem["detail"]
    program = {"type": "Pattern", "pattern": r"[\pL]{9}"}
    problem = await call(stack, "POST", "/rules", 422, json=rule([], owner, trigger=program))
    assert problem["errors"][0]["field"] == "trigger.pattern"
    listed = (await call(stack, "GET", "/rules", params={"tenant_id": owner}))["rules"]
    assert {r["problem"] for r in listed} == {None}
    for index in range(stack.settings.conversations.max_rules - len(listed)):
        await call(stack, "POST", "/rules", 201, json=rule(["x"], owner, id=f"s{index}"))
    problem = await call(stack, "POST", "/rules", 409, json=rule(["x"], owner))
    assert "at most 14 rules" in problem["detail"]
    assert "PYTAKE_MAX_RULES" in problem["detail"]
    # All of them together are read and answered in no time.
    asked = {"from": fresh_recipient(), "message": "x", "tenant_id": owner}
    assert (await call(stack, "POST", "/process", json=asked))["rule"]["id"] == "s0"
