"""Temporal's weight overrides follow the rows of the numbers."""

from datetime import timedelta
from typing import Final

from temporalio import activity
from temporalio.client import Client
from temporalio.common import (
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)

from pytake.clock import now
from pytake.contracts import NumberInput, NumberStep, number_workflow_id
from pytake.storage import numbers
from pytake.storage.engine import Database
from pytake.storage.tables import PhoneNumber
from pytake.temporal import NUMBER, SEND_QUEUE, TENANT, WORKFLOW_QUEUE, override_weights

NUMBER_WORKFLOW: Final = "NumberWorkflow"
CHANGED_SIGNAL: Final = "changed"
_APPLY_TIMEOUT: Final = timedelta(seconds=5)


async def follow_number(client: Client, number: PhoneNumber) -> None:
    """Apply the number's weight now, and have its workflow see it through.

    Raises:
        RPCError: Temporal was not reached.
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


class NumberActivities:
    """``steer_number`` with its clients."""

    def __init__(self, database: Database, client: Client) -> None:
        self._database = database
        self._client = client

    @activity.defn
    async def steer_number(self, request: NumberInput) -> NumberStep:
        """Apply the number's weight; take a step back up if one is due; say when to look again."""
        number = await self._database.write(numbers.recover, request.phone_number_id, now())
        if number is None:
            return NumberStep(note="unknown number")
        weight = numbers.weight(number)
        await override_weights(self._client, SEND_QUEUE, {number.id: weight})
        wait = numbers.RECOVER_EVERY.total_seconds() if number.state == "throttled" else 0.0
        return NumberStep(wait_seconds=wait, note=f"{number.state} at {weight:g}/s")
