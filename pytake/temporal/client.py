"""Connecting to Temporal, and what PyTake sets up there."""

import asyncio
import dataclasses
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, TypeVar

import structlog
from temporalio.api.enums.v1 import IndexedValueType, TaskQueueType
from temporalio.api.operatorservice.v1 import (
    AddSearchAttributesRequest,
    ListSearchAttributesRequest,
)
from temporalio.api.taskqueue.v1 import RateLimit
from temporalio.api.workflowservice.v1 import UpdateTaskQueueConfigRequest
from temporalio.client import Client, Interceptor, Plugin
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.converter import PayloadCodec
from temporalio.envconfig import ClientConfig
from temporalio.runtime import Runtime
from temporalio.service import RPCError, RPCStatusCode

from pytake.settings import temporal_environment
from pytake.temporal.attributes import SEARCH_ATTRIBUTES
from pytake.temporal.queues import RATE_LIMITED_QUEUES

_log = structlog.get_logger()


T = TypeVar("T")


UNREACHABLE: Final = (RPCError, RuntimeError)
"""What a call raises when the server is down. While a lazy client has never connected, the SDK raises a
plain RuntimeError.
"""


async def connect(
    *,
    target: str | None = None,
    namespace: str | None = None,
    codec: PayloadCodec | None = None,
    plugins: Sequence[Plugin] = (),
    interceptors: Sequence[Interceptor] = (),
    runtime: Runtime | None = None,
    lazy: bool = False,
) -> Client:
    """Connect as configured by Temporal's standard variables; by default to 127.0.0.1:7233, ``default``.

    With ``lazy`` the connection is made by the first call, so that an API process can start (and
    report itself not ready) while Temporal is down.
    """
    config = dict(
        ClientConfig.load_client_connect_config(override_env_vars=dict(temporal_environment()))
    )
    config.setdefault("target_host", "127.0.0.1:7233")
    if target:
        config["target_host"] = target
    if namespace:
        config["namespace"] = namespace
    return await Client.connect(
        **config,  # type: ignore[arg-type]  # TypedDict of connect's own arguments, widened by dict()
        data_converter=dataclasses.replace(pydantic_data_converter, payload_codec=codec),
        plugins=plugins,
        interceptors=interceptors,
        runtime=runtime,
        lazy=lazy,
    )


async def ensure_search_attributes(client: Client) -> list[str]:
    """Create the missing search attributes; return their names."""
    missing = await missing_search_attributes(client)
    if missing:
        await add_search_attributes(client, missing)
    return missing


async def add_search_attributes(client: Client, names: Collection[str]) -> None:
    """Create the named search attributes."""
    await client.operator_service.add_search_attributes(
        AddSearchAttributesRequest(
            namespace=client.namespace,
            search_attributes={
                key.name: IndexedValueType.ValueType(key.indexed_value_type)
                for key in SEARCH_ATTRIBUTES
                if key.name in names
            },
        )
    )


async def missing_search_attributes(client: Client) -> list[str]:
    """Search attributes that the namespace lacks."""
    present = await client.operator_service.list_search_attributes(
        ListSearchAttributesRequest(namespace=client.namespace)
    )
    return [key.name for key in SEARCH_ATTRIBUTES if key.name not in present.custom_attributes]


async def ensure_rate_limits(client: Client) -> None:
    """Limit each fairness key of the rate-limited queues to its weight, in tasks per second."""
    for queue in RATE_LIMITED_QUEUES:
        limit = UpdateTaskQueueConfigRequest.RateLimitUpdate(
            rate_limit=RateLimit(requests_per_second=1.0),
            reason="each key runs at its weight in tasks per second",
        )
        await _configure(client, queue, update_fairness_key_rate_limit_default=limit)


async def override_weights(
    client: Client,
    queue: str,
    weights: Mapping[str, float | None],
    rpc_timeout: timedelta | None = None,
) -> None:
    """Set the rate of fairness keys, effective at once and for the backlog too; ``None`` removes it."""
    await _configure(
        client,
        queue,
        rpc_timeout=rpc_timeout,
        set_fairness_weight_overrides={k: w for k, w in weights.items() if w is not None},
        unset_fairness_weight_overrides=[k for k, w in weights.items() if w is None],
    )


async def _configure(
    client: Client, queue: str, rpc_timeout: timedelta | None = None, **change: Any
) -> None:
    request = UpdateTaskQueueConfigRequest(
        namespace=client.namespace,
        identity=client.identity,
        task_queue=queue,
        task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY,
        **change,
    )
    await client.workflow_service.update_task_queue_config(request, timeout=rpc_timeout)


async def retry_until_up(call: Callable[[], Awaitable[T]], seconds: float = 60.0) -> T:
    """Await a call at start-up, retrying while the server is not up yet.

    Raises:
        RPCError, RuntimeError: what the last try raised, after ``seconds``.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            return await call()
        except (RPCError, RuntimeError) as error:
            refused = isinstance(error, RPCError) and not is_unavailable(error)
            if refused or time.monotonic() > deadline:
                raise
            _log.warning("waiting for Temporal", error=str(error)[:200])
        await asyncio.sleep(1)


def never_connected(error: RuntimeError) -> bool:
    """Whether this is the SDK's error for a lazy client that could not connect yet."""
    return str(error).startswith("Failed client connect")


def is_unavailable(error: RPCError) -> bool:
    """Whether the server could not be reached, or did not answer in time."""
    return error.status in (
        RPCStatusCode.UNAVAILABLE,
        RPCStatusCode.DEADLINE_EXCEEDED,
        RPCStatusCode.CANCELLED,
        RPCStatusCode.RESOURCE_EXHAUSTED,
        RPCStatusCode.UNKNOWN,
    )
