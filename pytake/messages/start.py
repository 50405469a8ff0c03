"""Starting the workflow of a message: the one durable write."""

from datetime import timedelta

from temporalio.client import Client
from temporalio.common import (
    Priority,
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)

from pytake.messages.contracts import (
    MESSAGE_WORKFLOW,
    SCHEDULED_WORKFLOW,
    MessageInput,
    MessageMemo,
)
from pytake.temporal.attributes import (
    CONTACT,
    EXPIRES_AT,
    MEMO_MESSAGE,
    NUMBER,
    PRIORITY,
    SCHEDULED_FOR,
    TENANT,
)
from pytake.temporal.priority import PRIORITY_KEY
from pytake.temporal.queues import WORKFLOW_QUEUE


async def start_message(
    client: Client,
    message: MessageInput,
    contact_hash: str,
    reuse: WorkflowIDReusePolicy,
    start_delay: timedelta | None = None,
) -> None:
    """Start a message's workflow, under the message's id. ``start_delay`` delays its first task; a signal
    does not bring that forward, ``ScheduledMessageWorkflow.wake`` does.

    Raises:
        WorkflowAlreadyStartedError: it is running, or has run and ``reuse`` does not allow another run.
        RPCError: Temporal was not reached, or refused the input.
    """
    attributes = TypedSearchAttributes(
        [
            SearchAttributePair(TENANT, message.tenant_id),
            SearchAttributePair(NUMBER, message.phone_number_id),
            SearchAttributePair(PRIORITY, message.priority.value),
            SearchAttributePair(CONTACT, contact_hash),
        ]
    )
    if message.scheduled_for:
        attributes = attributes.updated(
            SearchAttributePair(SCHEDULED_FOR, message.scheduled_for),
            SearchAttributePair(EXPIRES_AT, message.expires_at),
        )
    await client.start_workflow(
        SCHEDULED_WORKFLOW if message.scheduled_for else MESSAGE_WORKFLOW,
        message,
        id=message.message_id,
        task_queue=WORKFLOW_QUEUE,
        id_reuse_policy=reuse,
        id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
        memo={MEMO_MESSAGE: MessageMemo.of(message)},
        search_attributes=attributes,
        start_delay=start_delay,
        static_summary=f"{message.message_type} ({message.priority})",
        # For the workflow's own tasks: so that a Critical message does not wait behind a backlog of Low
        # ones, nor a number behind another number's, before its send is even scheduled.
        priority=Priority(
            priority_key=PRIORITY_KEY[message.priority], fairness_key=message.phone_number_id
        ),
        rpc_timeout=timedelta(seconds=10),
    )
