"""ConversationWorkflow: one contact's inbound messages, in order, one answer at a time."""

import asyncio
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from activities.conversations import ConversationActivities
    from pytake.conversations.contracts import (
        INBOUND_SIGNAL,
        ConversationInput,
        DecideRequest,
        Decision,
        InboundSignal,
        ReplyRequest,
    )
    from workflows.policies import (
        DECIDE_RETRY,
        DECIDE_TIMEOUT,
        MARK_READ_RETRY,
        MARK_READ_TIMEOUT,
        REPLY_RETRY,
        REPLY_TIMEOUT,
    )

_IDLE = timedelta(minutes=5)
"""A conversation that is silent for this long ends; the next message starts it again. All state of
the contact is in the database."""
_LONGEST_BURST = 5
"""A contact who keeps writing is answered after at most this many debounce periods."""


@workflow.defn
class ConversationWorkflow:
    """Collects messages that arrive close together, decides once, waits, answers."""

    @workflow.init
    def __init__(self, conversation: ConversationInput) -> None:
        self._conversation = conversation
        self._pending = list(conversation.pending)

    @workflow.signal(name=INBOUND_SIGNAL)
    def inbound(self, signal: InboundSignal) -> None:
        """The contact wrote; a message that is signalled twice counts once."""
        self._pending += [wamid for wamid in signal.wamids if wamid not in self._pending]

    @workflow.run
    async def run(self, conversation: ConversationInput) -> str:
        """Runs until the contact has been silent for five minutes."""
        while True:
            try:
                await workflow.wait_condition(lambda: bool(self._pending), timeout=_IDLE)
            except TimeoutError:
                if not self._pending:
                    return "silent"
            await self._debounce()
            burst, self._pending = self._pending, []
            await self._answer(burst)
            if workflow.info().is_continue_as_new_suggested():
                conversation.pending = self._pending
                workflow.continue_as_new(conversation)

    async def _debounce(self) -> None:
        pause = timedelta(seconds=self._conversation.debounce_seconds)
        deadline = workflow.now() + _LONGEST_BURST * pause
        while (wait := min(pause, deadline - workflow.now())) > timedelta(0):
            known = len(self._pending)
            try:
                await workflow.wait_condition(
                    lambda known=known: len(self._pending) > known,  # type: ignore[misc]
                    timeout=wait,
                )
            except TimeoutError:
                return

    async def _answer(self, burst: list[str]) -> None:
        decision = await workflow.execute_activity_method(
            ConversationActivities.decide_reply,
            DecideRequest(
                tenant_id=self._conversation.tenant_id,
                phone_number_id=self._conversation.phone_number_id,
                contact_key=self._conversation.contact_key,
                wamids=burst,
            ),
            start_to_close_timeout=DECIDE_TIMEOUT,
            retry_policy=DECIDE_RETRY,
        )
        if decision.messages == 0:
            return
        reading = asyncio.create_task(self._mark_read(decision))
        if decision.delay_seconds:
            await workflow.sleep(decision.delay_seconds)
        for index in range(decision.messages):
            await workflow.execute_activity_method(
                ConversationActivities.send_reply,
                ReplyRequest(key=decision.key, index=index),
                start_to_close_timeout=REPLY_TIMEOUT,
                retry_policy=REPLY_RETRY,
            )
        await reading

    async def _mark_read(self, decision: Decision) -> None:
        """Best effort: the answer does not depend on it."""
        try:
            await workflow.execute_activity_method(
                ConversationActivities.mark_read,
                ReplyRequest(key=decision.key),
                start_to_close_timeout=MARK_READ_TIMEOUT,
                retry_policy=MARK_READ_RETRY,
            )
        except ActivityError as error:
            workflow.logger.warning("not marked as read: %s", error.cause)


WORKFLOWS = (ConversationWorkflow,)
