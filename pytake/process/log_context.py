"""Adds workflow, message and tenant to every log line of an activity; no personal data."""

from typing import Any, Final

import structlog
from temporalio import activity
from temporalio.worker import (
    ActivityInboundInterceptor,
    ExecuteActivityInput,
    Interceptor,
)

_FIELDS: Final = ("message_id", "tenant_id", "phone_number_id", "delivery_id", "endpoint_id")


class LogContext(Interceptor):
    """Binds the log context while an activity runs."""

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002 - the SDK's name
        """Wrap the next interceptor."""
        return _Inbound(next)


class _Inbound(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002 - the SDK's name
        info = activity.info()
        fields: dict[str, Any] = {
            "workflow_id": info.workflow_id,
            "activity": info.activity_type,
            "attempt": info.attempt,
        }
        for argument in input.args:
            for name in _FIELDS:
                if isinstance(value := getattr(argument, name, None), str):
                    fields[name] = value
        with structlog.contextvars.bound_contextvars(**fields):
            return await self.next.execute_activity(input)
