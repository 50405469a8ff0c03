"""What waits for a number, and how fast its queue goes: asked of Temporal, told to it."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import typer

from pytake.commands.terminal import leave
from pytake.conversations.contracts import CONVERSATION_WORKFLOW
from pytake.messages.contracts import MESSAGE_WORKFLOW, SCHEDULED_WORKFLOW

if TYPE_CHECKING:
    from temporalio.client import Client

    from pytake.numbers.tables import PhoneNumber

_WAITING: Final = {
    MESSAGE_WORKFLOW: "messages in flight",
    SCHEDULED_WORKFLOW: "scheduled messages",
    CONVERSATION_WORKFLOW: "conversations of the last minutes",
}


def ask(call: Callable[..., Any], *args: Any) -> tuple[Any, bool]:
    """What a call with a Temporal client says, ``None`` if Temporal cannot be reached; and whether a
    client was made, so that the command has to :func:`end`.
    """
    from temporalio.service import RPCError

    from pytake.temporal import client as temporal

    async def asked() -> Any:
        return await call(await temporal.connect(), *args)

    try:
        return asyncio.run(asked()), True
    except RuntimeError:
        return None, False
    except RPCError:
        return None, True


async def count(client: "Client", phone_number_id: str) -> dict[str, int]:
    """What waits for a number, as Temporal's visibility has it."""
    from pytake.temporal.attributes import NUMBER

    counts = {}
    for workflow, name in _WAITING.items():
        query = (
            f"WorkflowType = '{workflow}' AND ExecutionStatus = 'Running' "
            f"AND {NUMBER.name} = '{phone_number_id}'"
        )
        counts[name] = (await client.count_workflows(query)).count
    return counts


async def steer(client: "Client", row: "PhoneNumber") -> bool:
    """Have the number's queue follow its rate."""
    from pytake.numbers.follow import follow_number

    await follow_number(client, row)
    return True


async def lift(client: "Client", phone_number_id: str) -> bool:
    """Forget the rate of a number's queue."""
    from pytake.temporal.client import override_weights
    from pytake.temporal.queues import SEND_QUEUE

    await override_weights(client, SEND_QUEUE, {phone_number_id: None})
    return True


def end(connected: bool, code: int = 0) -> None:
    """End a command that may have made a Temporal client."""
    if connected:
        leave(code)
    if code:
        raise typer.Exit(code)
