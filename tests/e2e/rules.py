"""Shorthands for the auto-responder's endpoints and rules."""

from typing import Any

from tests.stack import (
    Stack,
)

BASE = "/api/v1/auto-responder"


async def call(stack: Stack, method: str, path: str, expect: int = 200, **options: Any) -> Any:
    response = await stack.api.request(method, f"{BASE}{path}", **options)
    assert response.status_code == expect, response.text
    return response.json() if response.content else None


def rule(words: list[str], tenant_id: str, **fields: Any) -> dict[str, Any]:
    return {
        "name": "r",
        "tenant_id": tenant_id,
        "trigger": {"type": "Keyword", "words": words},
        "response": {"action": "SendMessage", "text": "ok"},
        **fields,
    }
