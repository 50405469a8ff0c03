"""The sandbox answers the fields that clients of the Graph API ask for."""

from typing import Any

import httpx

from pytake.settings import SANDBOX_BUSINESS_ACCOUNT_ID, SANDBOX_PHONE_NUMBER_ID

ACCOUNT = f"/v25.0/{SANDBOX_BUSINESS_ACCOUNT_ID}"
NUMBER = f"/v25.0/{SANDBOX_PHONE_NUMBER_ID}"


async def get(client: httpx.AsyncClient, path: str, **params: Any) -> dict[str, Any]:
    response = await client.get(path, params=params)
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


async def test_templates_have_components_and_come_in_pages(client: httpx.AsyncClient) -> None:
    components = [{"type": "BODY", "text": "Oi, {{nome}}"}]
    declared = {"category": "UTILITY", "parameter_format": "NAMED", "components": components}
    await client.put("/sandbox/templates/aviso", json=declared)
    path = f"{ACCOUNT}/message_templates"
    (aviso,) = (await get(client, path, name="aviso"))["data"]
    assert declared.items() <= aviso.items()
    assert await get(client, f"/v25.0/{aviso['id']}", fields="name,status") == {
        "id": aviso["id"],
        "name": "aviso",
        "status": "APPROVED",
    }
    names, url, seen = [], path, 0
    while url:
        body = (
            await client.get(url, params=None if seen else {"limit": 3, "fields": "name"})
        ).json()
        assert all({*item} == {"id", "name"} for item in body["data"])
        names += [item["name"] for item in body["data"]]
        assert {*body["paging"]["cursors"]} == {"before", "after"}
        url, seen, last = body["paging"].get("next"), seen + 1, body
    assert (names, seen) == (["pytake_saudacao", "pytake_pedido", "pytake_codigo", "aviso"], 2)
    back = (await client.get(last["paging"]["previous"])).json()
    assert [item["name"] for item in back["data"]] == names[:3]
    assert await get(client, path, status="REJECTED") == {"data": []}
    assert len((await get(client, path))["data"]) == 4
    wrong = await client.get(path, params={"after": "!"})
    assert wrong.json()["error"]["code"] == 100


async def test_the_account_and_its_numbers_have_their_fields(client: httpx.AsyncClient) -> None:
    assert (await get(client, ACCOUNT, fields="name,currency")) == {
        "id": SANDBOX_BUSINESS_ACCOUNT_ID,
        "name": "PyTake Sandbox",
        "currency": "USD",
    }
    assert "timezone_id" in await get(client, ACCOUNT)
    await client.patch("/sandbox/numbers/77", json={"verified_name": "Loja"})
    body = await get(client, f"{ACCOUNT}/phone_numbers")
    assert [item["id"] for item in body["data"]] == [SANDBOX_PHONE_NUMBER_ID, "77"]
    assert body["data"][0] == await get(client, NUMBER)
    some = await get(client, f"{ACCOUNT}/phone_numbers", fields="verified_name,throughput{level}")
    assert some["data"][1] == {
        "id": "77",
        "verified_name": "Loja",
        "throughput": {"level": "STANDARD"},
    }
    for path in (ACCOUNT, NUMBER, f"{ACCOUNT}/phone_numbers", f"{ACCOUNT}/message_templates"):
        error = (await client.get(path, params={"fields": "nonsense"})).json()["error"]
        assert error["code"] == 100
        assert error["error_data"]["details"].endswith("nonexisting field (nonsense)")


async def test_the_business_profile_is_read_and_changed(client: httpx.AsyncClient) -> None:
    path = f"{NUMBER}/whatsapp_business_profile"
    change = {"messaging_product": "whatsapp", "about": "Aberto", "websites": ["https://a.example"]}
    assert (await client.post(path, json=change)).json() == {"success": True}
    assert await get(client, path, fields="about,websites") == {"data": [change]}
    (profile,) = (await get(client, path))["data"]
    assert {*profile} > {"address", "description", "email", "profile_picture_url", "vertical"}
    assert (await client.post(path, json={"about": "x"})).json()["error"]["code"] == 100
