"""Keeps a number's weight in Temporal in step with its row."""

from datetime import timedelta
from typing import Final

from temporalio.client import Client
from temporalio.common import (
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)

from pytake.numbers import store as numbers
from pytake.numbers.contracts import (
    CHANGED_SIGNAL,
    NUMBER_WORKFLOW,
    NumberInput,
    number_workflow_id,
)
from pytake.numbers.tables import PhoneNumber
from pytake.temporal.attributes import NUMBER, TENANT
from pytake.temporal.client import override_weights
from pytake.temporal.queues import SEND_QUEUE, WORKFLOW_QUEUE

_APPLY_TIMEOUT: Final = timedelta(seconds=5)


async def follow_number(client: Client, number: PhoneNumber) -> None:
    """Apply the number's weight now, and start its workflow for the later steps.

    Raises:
        RPCError: Temporal could not be reached.
    """
    await override_weights(client, SEND_QUEUE, {number.id: numbers.weight(number)}, _APPLY_TIMEOUT)
    attributes = TypedSearchAttributes(
        [SearchAttributePair(NUMBER, number.id), SearchAttributePair(TENANT, number.tenant_id)]
    )
    await client.start_workflow(
        NUMBER_WORKFLOW,
        NumberInput(phone_number_id=number.id),
        id=number_workflow_id(number.id),
        task_queue=WORKFLOW_QUEUE,
        id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        search_attributes=attributes,
        start_signal=CHANGED_SIGNAL,
    )
