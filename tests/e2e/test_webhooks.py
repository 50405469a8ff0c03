"""Webhooks end to end: real events, and a real receiver that verifies them."""

import asyncio
import json
import ssl
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from pytake.webhooks import endpoints
from tests.callback.posting import post
from tests.hooks import CONFIGURE, configure, send, store, tenant, until
from tests.receiver import Receiver
from tests.stack import Stack, eventually, fresh_recipient


async def test_the_example_request_is_accepted_unchanged(stack: Stack) -> None:
    response = await stack.api.post("/api/v1/webhooks/configure", json=CONFIGURE)
    assert response.status_code == 201, response.text
    made = response.json()
    assert made["id"].startswith("whe_")
    assert "seu-secret-seguro" not in response.text
    assert "seu-token" not in response.text
    assert (made["max_retries"], made["timeout_seconds"], made["active"]) == (5, 30, True)
    listed = await stack.api.get("/api/v1/webhooks/configs")
    assert listed.status_code == 200, listed.text
    assert made["id"] in [item["id"] for item in listed.json()]
    assert "seu-secret" not in listed.text
    row = await stack.database.read(endpoints.get, "tenant1", made["id"])
    assert row is not None
    assert b"seu-" not in row.sealed
    updated = await stack.api.post(
        "/api/v1/webhooks/configure", json={**CONFIGURE, "id": made["id"], "events": ["*"]}
    )
    assert (updated.status_code, updated.json()["events"], updated.json()["id"]) == (
        200,
        ["*"],
        made["id"],
    )
    patched = await stack.api.patch(
        f"/api/v1/webhooks/config/{made['id']}", json={"description": "loja", "active": False}
    )
    assert (patched.json()["description"], patched.json()["active"]) == ("loja", False)
    assert (await stack.api.delete(f"/api/v1/webhooks/config/{made['id']}")).status_code == 204
    assert (await stack.api.get(f"/api/v1/webhooks/config/{made['id']}")).status_code == 404


async def test_an_event_is_signed_and_verifies(stack: Stack, receiver: Receiver) -> None:
    tenant_id = tenant()
    url = receiver.script(f"/{tenant_id}", 200)
    made = await configure(
        stack,
        tenant_id,
        url,
        auth_type="BearerToken",
        auth_value="seu-token",
        custom_headers={"X-Loja": "1"},
    )
    assert made["secret"].startswith("whsec_")
    sent = await send(stack, tenant_id, custom_headers={"X-Pedido": "9"})
    view = await until(stack, sent["deliveries"][0], "delivered")
    got = receiver.received[f"/{tenant_id}"][0]
    body = Webhook(made["secret"]).verify(got.body, got.headers)
    assert body["type"] == "order.shipped"
    assert body["data"] == {"pedido": "ção 🎉"}
    assert body["tenant_id"] == tenant_id
    assert body["sequence"] == 1
    assert got.headers["webhook-id"] == sent["event_id"] == body["id"]
    assert got.headers["authorization"] == "Bearer seu-token"
    assert (got.headers["x-loja"], got.headers["x-pedido"]) == ("1", "9")
    assert got.headers["x-event-type"] == "order.shipped"
    assert got.headers["x-event-id"] == sent["event_id"]
    assert got.headers["x-tenant-id"] == tenant_id
    assert got.headers["x-webhook-signature"].startswith("sha256=")
    attempt = view["attempt_log"][0]
    assert (attempt["ok"], attempt["status"], attempt["body"]) == (True, 200, "ok")
    history = await stack.client.get_workflow_handle(
        view["links"]["temporal_ui"].rsplit("/", 1)[1]
    ).fetch_history()
    assert made["secret"][6:] not in history.to_json()
    assert "seu-token" not in history.to_json()


async def test_messages_raise_their_events_in_order_with_metadata(
    stack: Stack, receiver: Receiver
) -> None:
    tenant_id = tenant()
    url = receiver.script(f"/{tenant_id}", 200)
    await configure(stack, tenant_id, url, events=["message.*"])
    await stack.share(tenant_id)
    sent = await stack.send(to=fresh_recipient(), tenant_id=tenant_id, metadata={"pedido": "7"})

    def types() -> list[str]:
        return [json.loads(item.body)["type"] for item in receiver.received[f"/{tenant_id}"]]

    async def complete() -> bool:
        return set(types()) >= {
            "message.queued",
            "message.sent",
            "message.delivered",
            "message.read",
        }

    await eventually(complete, 30, lambda: str(types()))
    await asyncio.sleep(0.5)
    bodies = [json.loads(item.body) for item in receiver.received[f"/{tenant_id}"]]
    assert len(bodies) == len({body["id"] for body in bodies}) == 4
    assert all(body["data"]["message_id"] == sent["message_id"] for body in bodies)
    assert all(body["data"]["metadata"] == {"pedido": "7"} for body in bodies)
    ordered = [body["type"] for body in sorted(bodies, key=lambda body: body["sequence"])]
    assert ordered == ["message.queued", "message.sent", "message.delivered", "message.read"]


async def test_failures_cancellations_and_inbound_messages_raise_events(
    stack: Stack, receiver: Receiver
) -> None:
    tenant_id = tenant()
    number = await stack.register(tenant=tenant_id)
    url = receiver.script(f"/{tenant_id}", 200)
    await configure(
        stack,
        tenant_id,
        url,
        events=["message.failed", "message.cancelled", "message.received", "number.*"],
    )
    to = fresh_recipient()
    await stack.fault("error", code=131026, to=to, count=1)
    await stack.send(to=to, tenant_id=tenant_id, phone_number_id=number)
    later = await stack.send(
        to=to,
        tenant_id=tenant_id,
        phone_number_id=number,
        scheduled_for=(datetime.now(UTC) + timedelta(hours=1)).isoformat(),
    )
    await stack.api.post(f"/api/v1/queue/message/{later['message_id']}/cancel")
    await stack.inbound(to, "Olá", number)
    await stack.api.post(f"/api/v1/whatsapp/numbers/{number}/pause")
    await stack.api.post(f"/api/v1/whatsapp/numbers/{number}/resume")

    def found() -> dict[str, Any]:
        return {
            (body := json.loads(item.body))["type"]: body["data"]
            for item in receiver.received[f"/{tenant_id}"]
        }

    async def complete() -> bool:
        return len(found()) == 5

    await eventually(complete, 30, lambda: str(found().keys()))
    assert found()["message.failed"]["error"]["code"] == 131026
    assert found()["message.received"]["message"]["text"]["body"] == "Olá"
    assert found()["number.held"]["state"] == "paused"


async def test_the_secret_is_rotated_with_both_keys_signing(
    stack: Stack, receiver: Receiver
) -> None:
    tenant_id = tenant()
    made = await configure(stack, tenant_id, receiver.script(f"/{tenant_id}", 200))
    rotated = (
        await stack.api.post(
            f"/api/v1/webhooks/config/{made['id']}/rotate-secret", json={"keep_old_seconds": 3600}
        )
    ).json()
    assert rotated["secret"] != made["secret"]
    await until(stack, (await send(stack, tenant_id))["deliveries"][0], "delivered")
    got = receiver.received[f"/{tenant_id}"][0]
    for secret in (made["secret"], rotated["secret"]):
        Webhook(secret).verify(got.body, got.headers)
    again = (
        await stack.api.post(
            f"/api/v1/webhooks/config/{made['id']}/rotate-secret", json={"keep_old_seconds": 0}
        )
    ).json()
    await until(stack, (await send(stack, tenant_id))["deliveries"][0], "delivered")
    got = receiver.received[f"/{tenant_id}"][1]
    Webhook(again["secret"]).verify(got.body, got.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(rotated["secret"]).verify(got.body, got.headers)


async def test_the_test_request_returns_the_response(stack: Stack, receiver: Receiver) -> None:
    tenant_id = tenant()
    made = await configure(
        stack, tenant_id, receiver.script(f"/{tenant_id}", (201, {"X-Got": "it"}, b"thanks"))
    )
    result = (await stack.api.post(f"/api/v1/webhooks/config/{made['id']}/test")).json()
    assert (result["success"], result["status"], result["body"]) == (True, 201, "thanks")
    Webhook(made["secret"]).verify(
        receiver.received[f"/{tenant_id}"][0].body, receiver.received[f"/{tenant_id}"][0].headers
    )


async def test_every_kind_of_authentication(stack: Stack, receiver: Receiver) -> None:
    tokens = iter(["one", "two"])

    def token(headers: dict[str, str], body: bytes) -> Any:
        assert headers["authorization"].startswith("Basic ")
        assert b"grant_type=client_credentials" in body
        return 200, {}, json.dumps({"access_token": next(tokens), "expires_in": 3600}).encode()

    def guarded(headers: dict[str, str], body: bytes) -> Any:
        return 200 if headers.get("authorization") == "Bearer two" else 401

    oauth2 = {
        "token_url": receiver.script("/token", token),
        "client_id": "c",
        "client_secret": "s3cr3t-value-of-mine",
    }
    cases: list[tuple[dict[str, Any], str, str | None]] = [
        ({"auth_type": "None"}, "authorization", None),
        (
            {"auth_type": "BasicAuth", "auth_value": "user:pass"},
            "authorization",
            "Basic dXNlcjpwYXNz",
        ),
        (
            {"auth_type": "ApiKey", "auth_header": "X-Api-Key", "auth_value": "k1"},
            "x-api-key",
            "k1",
        ),
        ({"auth_type": "OAuth2", "oauth2": oauth2}, "authorization", "Bearer two"),
    ]
    for changes, header, expected in cases:
        tenant_id = tenant()
        made = await configure(
            stack,
            tenant_id,
            receiver.script(f"/{tenant_id}", guarded if changes["auth_type"] == "OAuth2" else 200),
            **changes,
        )
        assert "s3cr3t-value" not in json.dumps(made)
        await until(stack, (await send(stack, tenant_id))["deliveries"][0], "delivered")
        assert receiver.received[f"/{tenant_id}"][-1].headers.get(header) == expected
    refused = await stack.api.post(
        "/api/v1/webhooks/configure", json={**CONFIGURE, "auth_type": "mTLS"}
    )
    assert refused.status_code == 422


async def test_idempotency_target_url_and_unknown_subscribers(
    stack: Stack, receiver: Receiver
) -> None:
    tenant_id = tenant()
    assert (await send(stack, tenant_id))["deliveries"] == []
    url = receiver.script(f"/{tenant_id}/once", 200)
    first = await send(stack, tenant_id, target_url=url)
    await until(stack, first["deliveries"][0], "delivered")
    got = receiver.received[f"/{tenant_id}/once"][0]
    Webhook(first["secret"]).verify(got.body, got.headers)
    await configure(stack, tenant_id, receiver.script(f"/{tenant_id}", 200))
    twice = [await send(stack, tenant_id, idempotency_key="k") for _ in range(3)]
    assert len({item["event_id"] for item in twice}) == 1
    await until(stack, twice[0]["deliveries"][0], "delivered")
    await asyncio.sleep(0.5)
    assert len(receiver.received[f"/{tenant_id}"]) == 1
    assert len(receiver.received[f"/{tenant_id}/once"]) == 1


async def test_bad_endpoints_are_refused_by_field(stack: Stack) -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"url": "ftp://x.y"}, "url"),
        ({"url": "https://user:pw@x.y/"}, "url"),
        ({"url": "http://10.0.0.1/"}, "url"),
        ({"url": "http://[::1]/"}, "url"),
        ({"events": []}, "events"),
        ({"events": ["Message Sent"]}, "events[0]"),
        ({"auth_type": "Magic"}, "auth_type"),
        ({"auth_type": "ApiKey", "auth_value": "x"}, "auth_header"),
        ({"auth_type": "BasicAuth", "auth_value": "nocolon"}, "auth_value"),
        ({"custom_headers": {"Host": "x"}}, "custom_headers"),
        ({"custom_headers": {"webhook-id": "x"}}, "custom_headers"),
        ({"custom_headers": {"X-A": "a\r\nB: c"}}, "custom_headers.X-A"),
        ({"auth_value": "seu-token "}, "auth_value"),
        ({"auth_value": "seu-tokén"}, "auth_value"),
        ({"custom_headers": {"X-A": "é"}}, "custom_headers.X-A"),
        ({"custom_headers": {"X-A": " a"}}, "custom_headers.X-A"),
        ({"secret": "seu-secret-seguro "}, "secret"),
        ({"url": "http://xn--127.0.0.1/"}, "url"),
        ({"max_retries": 51}, "max_retries"),
        ({"timeout_seconds": 0}, "timeout_seconds"),
        ({"surprise": 1}, "surprise"),
        ({"secret": "short"}, "secret"),
        ({"retry_schedule": [-1]}, "retry_schedule[0]"),
        ({"backoff": {"jitter": 2}}, "backoff.jitter"),
    ]
    for changes, field in cases:
        response = await stack.api.post("/api/v1/webhooks/configure", json={**CONFIGURE, **changes})
        assert response.status_code == 422, (changes, response.text)
        assert any(error["field"].startswith(field) for error in response.json()["errors"]), (
            changes,
            response.text,
        )
        assert "seu-tok" not in response.text
        assert "seu-secret" not in response.text


async def test_null_characters_are_refused_not_a_server_error(stack: Stack) -> None:
    bodies = {
        "configure": {**CONFIGURE, "description": "a\0b"},
        "send": {"tenant_id": "t", "event_type": "a.b", "payload": {"x": ["\0"]}},
    }
    for path, body in bodies.items():
        response = await stack.api.post(f"/api/v1/webhooks/{path}", json=body)
        assert response.status_code == 422, response.text
    listed = await stack.api.get("/api/v1/webhooks/deliveries", params={"endpoint_id": "a\0b"})
    assert listed.status_code in (200, 422)
    assert (await stack.api.get("/api/v1/webhooks/config/a%00b")).status_code in (404, 422)


async def test_every_event_type_has_a_schema(stack: Stack) -> None:
    types = (await stack.api.get("/api/v1/webhooks/event-types")).json()
    assert len(types) == 29
    assert all(item["schema"]["properties"] and item["description"] for item in types)


async def test_mutual_tls(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client certificate is shown to a TLS server that demands it, over the guarded transport."""
    key, certificate = tmp_path / "k.pem", tmp_path / "c.pem"
    await asyncio.to_thread(
        subprocess.run,
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-keyout",
            str(key),
            "-out",
            str(certificate),
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=DNS:localhost,IP:127.0.0.1",
        ],
        check=True,
        capture_output=True,
    )
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    server.verify_mode = ssl.CERT_REQUIRED
    server.load_verify_locations(certificate)
    seen: list[Any] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(writer.get_extra_info("peercert"))
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await writer.drain()
        writer.close()

    listening = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=server)
    url = f"https://127.0.0.1:{listening.sockets[0].getsockname()[1]}/"
    without, with_it, broken = tenant(), tenant(), tenant()
    pem = {"client_certificate": certificate.read_text(), "client_key": key.read_text()}
    await configure(stack, without, url, max_retries=0)
    made = await configure(stack, with_it, url, auth_type="mTLS", max_retries=0, **pem)
    assert "PRIVATE KEY" not in json.dumps(made)
    kept = await configure(stack, broken, url, max_retries=0)
    unread = {"client_certificate": "no", "client_key": "no"}
    path = f"/api/v1/webhooks/config/{kept['id']}"
    refused = await stack.api.patch(path, json={"auth_type": "mTLS", **unread})
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (
        422,
        "client_certificate",
    )
    await store(stack, kept["id"], unread, auth_type="mTLS")
    await until(stack, (await send(stack, without))["deliveries"][0], "dead_letter")
    await until(stack, (await send(stack, with_it))["deliveries"][0], "delivered")
    view = await until(stack, (await send(stack, broken))["deliveries"][0], "dead_letter")
    assert "client certificate" in view["last_error"]
    assert [peer["subject"] for peer in seen if peer] == [((("commonName", "localhost"),),)]
    listening.close()


async def test_the_rate_of_an_endpoint_is_kept(stack: Stack, receiver: Receiver) -> None:
    tenant_id = tenant()
    await configure(
        stack, tenant_id, receiver.script(f"/{tenant_id}", 200), rate_limit_per_second=5
    )
    for _ in range(20):
        await send(stack, tenant_id)

    async def complete() -> bool:
        return len(receiver.received[f"/{tenant_id}"]) == 20

    await eventually(complete, 20)
    times = [item.at for item in receiver.received[f"/{tenant_id}"]]
    # Temporal's limiter lets a second's worth through at first, then keeps the rate.
    assert times[-1] - times[0] >= (20 - 2 * 5) / 5 - 0.3


async def test_opt_outs_quality_and_limits_raise_events(stack: Stack, receiver: Receiver) -> None:
    tenant_id = tenant()
    number = await stack.register(tenant=tenant_id)
    await configure(
        stack, tenant_id, receiver.script(f"/{tenant_id}", 200), events=["contact.*", "number.*"]
    )
    metadata = {"metadata": {"phone_number_id": number}}
    changes = [
        {
            "field": "user_preferences",
            "value": {
                **metadata,
                "user_preferences": [
                    {
                        "wa_id": "5561994013828",
                        "category": "marketing_messages",
                        "value": "stop",
                        "timestamp": 1760000000,
                    }
                ],
            },
        },
        {
            "field": "phone_number_quality_update",
            "value": {**metadata, "event": "DOWNGRADE", "current_limit": "TIER_1K"},
        },
    ]
    for _ in range(2):
        response = await post(stack, {"entry": [{"id": "1", "changes": changes}]})
        assert response.status_code == 200

    def found() -> list[str]:
        return sorted(json.loads(item.body)["type"] for item in receiver.received[f"/{tenant_id}"])

    expected = ["contact.opted_out", "number.limit_changed", "number.quality_changed"]

    async def complete() -> bool:
        return len(found()) >= 3

    await eventually(complete, 20, lambda: str(found()))
    await asyncio.sleep(0.5)
    assert found() == expected
