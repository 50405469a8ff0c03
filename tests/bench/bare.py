"""The baseline: a bare workflow with one no-op activity, in a worker process of its own.

``python -m tests.bench.bare ADDRESS`` is that worker.
"""

import asyncio
import sys
from datetime import timedelta

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import Worker

QUEUE = "bare"


@activity.defn
async def nothing() -> None:
    """The no-op."""


@workflow.defn
class BareWorkflow:
    @workflow.run
    async def run(self, value: str) -> str:
        await workflow.execute_activity(nothing, start_to_close_timeout=timedelta(seconds=30))
        return value


async def main() -> None:
    client = await Client.connect(sys.argv[1])
    async with Worker(client, task_queue=QUEUE, workflows=[BareWorkflow], activities=[nothing]):
        print("ready", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
