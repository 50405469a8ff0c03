"""Messaging limits that Meta reports through the callback."""

from collections.abc import Iterator
from typing import Any, Final

from temporalio.api.batch.v1 import BatchOperationSignal
from temporalio.api.common.v1 import Payloads
from temporalio.api.workflowservice.v1 import StartBatchOperationRequest
from ulid import ULID

from api.dependencies import Services
from pytake.domain.limits import parse_tier
from pytake.temporal import HOLD
from pytake.whatsapp.inbound import Callback

_FIELDS: Final = {
    "phone_number_quality_update": ("current_limit", "max_daily_conversations_per_business"),
    "business_capability_update": (
        "max_daily_conversations_per_business",
        "max_daily_conversation_per_phone",
    ),
}
_BY_COUNT: Final = {
    50: "TIER_50",
    250: "TIER_250",
    1000: "TIER_1K",
    2000: "TIER_2K",
    10_000: "TIER_10K",
    100_000: "TIER_100K",
    -1: "TIER_UNLIMITED",
}


def reported(callback: Callback) -> Iterator[tuple[str | None, str]]:
    """(phone number id or ``None`` for all, tier) pairs that a request reports."""
    for update in callback.others:
        value: Any = update.payload
        for name in _FIELDS.get(update.field, ()) if isinstance(value, dict) else ():
            if tier := _tier(value.get(name)):
                yield update.phone_number_id, tier
                break


def _tier(value: Any) -> str | None:
    if isinstance(value, int):
        return _BY_COUNT.get(value)
    try:
        return parse_tier(value).name if isinstance(value, str) else None
    except ValueError:
        return None


async def follow_reports(services: Services, callback: Callback) -> None:
    """Wake the messages that waited for a full window when a limit was reported."""
    if any(True for _ in reported(callback)):
        await resume_waiting(services, "tier_window_full")


async def resume_waiting(services: Services, reason: str, extra: str = "") -> None:
    """Signal ``resume`` to every message that waits for ``reason``: one call, however many."""
    client = services.client
    await client.workflow_service.start_batch_operation(
        StartBatchOperationRequest(
            namespace=client.namespace,
            job_id=f"resume-{ULID()}",
            reason=f"messages waiting for {reason}",
            visibility_query=f"ExecutionStatus = 'Running' AND {HOLD.name} = '{reason}'{extra}",
            signal_operation=BatchOperationSignal(
                signal="resume", input=Payloads(), identity=client.identity
            ),
        )
    )
