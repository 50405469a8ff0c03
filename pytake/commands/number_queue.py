"""A number's queue in Temporal: what waits in it, and its rate."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import typer

from pytake.commands.terminal import exit_now
from pytake.conversations.contracts import CONVERSATION_WORKFLOW
from pytake.messages.contracts import MESSAGE_WORKFLOW, SCHEDULED_WORKFLOW

if TYPE_CHECKING:
    from temporalio.client import Client

    from pytake.numbers.tables import PhoneNumber

_WAITING: Final = {
    MESSAGE_WORKFLOW: "messages in flight",
    SCHEDULED_WORKFLOW: "scheduled messages",
    CONVERSATION_WORKFLOW: "recent conversations",
}


def with_client(call: Callable[..., Any], *args: Any) -> tuple[Any, bool]:
    """Run ``call(client, *args)`` with a Temporal client.

    Returns:
        The result, ``None`` if Temporal cannot be reached; and whether a client was created, in which
        case the command has to finish with :func:`finish`.
    """
    from temporalio.service import RPCError

    from pytake.temporal import client as temporal

    async def connected() -> Any:
        return await call(await temporal.connect(), *args)

    try:
        return asyncio.run(connected()), True
    except RuntimeError:
        return None, False
    except RPCError:
        return None, True


async def count(client: "Client", phone_number_id: str) -> dict[str, int]:
    """How many workflows wait for a number, by kind, from Temporal's visibility store."""
    from pytake.temporal.attributes import NUMBER

    counts = {}
    for workflow, name in _WAITING.items():
        query = (
            f"WorkflowType = '{workflow}' AND ExecutionStatus = 'Running' "
            f"AND {NUMBER.name} = '{phone_number_id}'"
        )
        counts[name] = (await client.count_workflows(query)).count
    return counts


async def apply_rate(client: "Client", row: "PhoneNumber") -> bool:
    """Apply the number's rate to its queue."""
    from pytake.numbers.follow import follow_number

    await follow_number(client, row)
    return True


async def remove_rate(client: "Client", phone_number_id: str) -> bool:
    """Remove the rate of a number's queue."""
    from pytake.temporal.client import override_weights
    from pytake.temporal.queues import SEND_QUEUE

    await override_weights(client, SEND_QUEUE, {phone_number_id: None})
    return True


def finish(connected: bool, code: int = 0) -> None:
    """Finish a command that may have created a Temporal client."""
    if connected:
        exit_now(code)
    if code:
        raise typer.Exit(code)
