"""Meta's callback requests: their bodies, and posting them signed."""

import hashlib
import hmac
import json
import time
from typing import Any
from uuid import uuid4

import httpx

from tests.stack import Stack

PATH = "/api/v1/whatsapp/webhook"


def sign(body: bytes, secret: str = "app-secret") -> dict[str, str]:
    digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return {"X-Hub-Signature-256": f"sha256={digest}"}


async def post(stack: Stack, body: object) -> httpx.Response:
    raw = json.dumps(body).encode()
    return await stack.api.post(PATH, content=raw, headers=sign(raw))


def envelope(
    *values: dict[str, Any], field: str = "messages", account: str = "1", at: int | None = None
) -> dict[str, Any]:
    changes = [{"field": field, "value": value} for value in values]
    entry: dict[str, Any] = {"id": account, "changes": changes}
    if at is not None:
        entry["time"] = at
    return {"object": "whatsapp_business_account", "entry": [entry]}


def said(number: str, *items: dict[str, Any]) -> dict[str, Any]:
    """Messages of contacts to a number."""
    return {"metadata": {"phone_number_id": number}, "messages": list(items)}


def text(sender: str, **more: Any) -> dict[str, Any]:
    return {
        "from": sender,
        "id": f"wamid.{uuid4().hex}",
        "timestamp": str(int(time.time())),
        "type": "text",
        "text": {"body": "oi"},
        **more,
    }


async def updates_of(stack: Stack, field: str) -> list[dict[str, Any]]:
    listed = (await stack.api.get("/api/v1/whatsapp/updates", params={"limit": 100})).json()
    return [update for update in listed["updates"] if update["field"] == field]


def statuses(*items: dict[str, Any], number: str = "42") -> dict[str, Any]:
    return {
        "messaging_product": "whatsapp",
        "metadata": {"phone_number_id": number},
        "statuses": list(items),
    }


def status(wamid: str, name: str, at: int = 1_760_000_000, **more: Any) -> dict[str, Any]:
    return {
        "id": wamid,
        "status": name,
        "timestamp": str(at),
        "recipient_id": "5561994013828",
        **more,
    }
