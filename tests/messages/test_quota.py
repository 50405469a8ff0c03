"""The limit on a tenant's scheduled messages."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.hooks import tenant
from tests.stack import EXAMPLE, eventually, fresh_recipient, make_settings, running_stack


async def test_scheduled_messages_of_a_tenant_are_limited(
    temporal_address: str, tmp_path: Path
) -> None:
    settings = make_settings(tmp_path, PYTAKE_MAX_SCHEDULED=3)
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    async with running_stack(settings, temporal_address, with_worker=False) as stack:
        number = await stack.register(tenant="default")
        owner, other = tenant(), tenant()
        started: list[str] = []

        async def schedule(whose: str, expect: int = 202, **headers: str) -> dict[str, Any]:
            body = await stack.send(
                to=fresh_recipient() if not headers else EXAMPLE["to"],
                tenant_id=whose,
                phone_number_id=number,
                scheduled_for=tomorrow,
                expect=expect,
                headers=headers,
            )
            started.extend([body["message_id"]] if expect == 202 else [])
            return body

        try:
            first = await schedule(owner, **{"Idempotency-Key": owner})
            for _ in range(2):
                await schedule(owner)
            refused = await schedule(owner, 422)
            assert refused["errors"][0]["field"] == "scheduled_for"
            assert "PYTAKE_MAX_SCHEDULED" in refused["detail"]
            assert await schedule(owner, **{"Idempotency-Key": owner}) == first, "it has its place"
            await schedule(other)
            await stack.client.get_workflow_handle(first["message_id"]).terminate()

            async def free() -> bool:
                body = {
                    **EXAMPLE,
                    "tenant_id": owner,
                    "phone_number_id": number,
                    "scheduled_for": tomorrow,
                }
                answer = await stack.api.post("/api/v1/queue/send", json=body)
                started.extend([answer.json()["message_id"]] if answer.is_success else [])
                return answer.status_code == 202

            await eventually(free)
        finally:
            for message_id in set(started) - {first["message_id"]}:
                await stack.client.get_workflow_handle(message_id).terminate()
