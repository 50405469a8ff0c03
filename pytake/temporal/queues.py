"""Task queues."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

WORKFLOW_QUEUE: Final = "pytake"
"""Workflow tasks, and activities that need no rate limit."""


SEND_QUEUE: Final = "whatsapp-send"
"""``send_message``; one fairness key per phone number, dispatched at that number's rate."""


DELIVERY_QUEUE: Final = "webhook-delivery"
"""``deliver_webhook``; one fairness key per endpoint, dispatched at that endpoint's rate."""


RATE_LIMITED_QUEUES: Final = (SEND_QUEUE, DELIVERY_QUEUE)


ByQueue = Mapping[str, Sequence[Callable[..., Any]]]
"""A noun's activities, by the task queue that they run on."""


DEPLOYMENT: Final = "pytake"
"""Name of the worker deployment, for workers with a build id (Temporal's worker versioning)."""
