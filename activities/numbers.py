"""Activity ``steer_number``: keeps Temporal's weight overrides in line with the numbers' rows."""

from temporalio import activity
from temporalio.client import Client

from pytake.clock import now
from pytake.database.engine import Database
from pytake.numbers import store as numbers
from pytake.numbers.contracts import NumberInput, NumberStep
from pytake.numbers.states import NumberState
from pytake.temporal.client import override_weights
from pytake.temporal.queues import SEND_QUEUE, WORKFLOW_QUEUE, ByQueue


class NumberActivities:
    """``steer_number``, with its dependencies."""

    def __init__(self, database: Database, client: Client) -> None:
        self._database = database
        self._client = client

    def activities(self) -> ByQueue:
        """Those that a worker registers, by queue."""
        return {WORKFLOW_QUEUE: [self.steer_number]}

    @activity.defn
    async def steer_number(self, request: NumberInput) -> NumberStep:
        """Raise a throttled number's rate if due, and apply its weight; returns when to run again."""
        number = await self._database.write(numbers.recover, request.phone_number_id, now())
        if number is None:
            return NumberStep(note="unknown number")
        weight = numbers.weight(number)
        await override_weights(self._client, SEND_QUEUE, {number.id: weight})
        wait = (
            numbers.RECOVER_EVERY.total_seconds() if number.state == NumberState.THROTTLED else 0.0
        )
        return NumberStep(wait_seconds=wait, note=f"{number.state} at {weight:g}/s")
