"""Activities of ConversationWorkflow: decide on an answer, mark as read, send the answer."""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

import structlog
from sqlmodel import Session
from temporalio import activity
from temporalio.client import Client, WorkflowFailureError
from temporalio.exceptions import (
    ApplicationError,
    ApplicationErrorCategory,
)
from temporalio.service import RPCError, RPCStatusCode

from pytake.clock import now
from pytake.conversations import rule_store as rules
from pytake.conversations import state as conversation_state
from pytake.conversations.answer import answer, new_message
from pytake.conversations.apply import Applied, OutdatedError
from pytake.conversations.contracts import DecideRequest, Decision, ReplyRequest, reply_message_id
from pytake.conversations.decide import Policy
from pytake.conversations.load import Loaded, MovedError, load_burst
from pytake.conversations.party import Party
from pytake.conversations.tables import AutoReply
from pytake.database.engine import Database
from pytake.messages.accept import Acceptor
from pytake.process.telemetry import REPLIES
from pytake.temporal.queues import WORKFLOW_QUEUE, ByQueue
from pytake.webhooks.dispatch import Dispatcher
from pytake.whatsapp.client import CloudApi, SendError

_log = structlog.get_logger()

TAKEN_OVER: Final = "a person took over before it was sent"
TOO_LATE: Final = "it could not be sent in time"
_PREVIOUS_WAIT: Final = 20.0
"""Seconds that one try waits for the preceding message."""


class ConversationActivities:
    """The activities, with their dependencies."""

    def __init__(
        self,
        api: CloudApi,
        database: Database,
        client: Client,
        dispatcher: Dispatcher,
        acceptor: Acceptor,
        policy: Policy,
    ) -> None:
        self._api = api
        self._database = database
        self._client = client
        self._dispatcher = dispatcher
        self._acceptor = acceptor
        self._policy = policy
        self._books = rules.Books()

    def activities(self) -> ByQueue:
        """Those that a worker registers, by queue."""
        return {WORKFLOW_QUEUE: [self.decide_reply, self.mark_read, self.send_reply]}

    @activity.defn
    async def decide_reply(self, request: DecideRequest) -> Decision:
        """Decide how to answer the messages; a repeat returns the stored decision."""
        try:
            applied = await self._answer(request, request.tenant_id)
        except MovedError as moved:
            applied = await self._answer(request, moved.tenant_id)
        self._dispatcher.soon(applied.raised)
        reply = applied.reply
        answered = reply.status == "answered"
        REPLIES.labels(reply.status).inc()
        return Decision(
            key=request.key,
            messages=len(reply.messages) if answered else 0,
            delay_seconds=reply.delay_seconds if answered else 0,
            reason=reply.reason,
        )

    async def _answer(self, request: DecideRequest, tenant_id: str) -> Applied:
        party = Party(tenant_id, request.phone_number_id, request.contact_key)
        at, policy = now(), self._policy

        def load(session: Session) -> Loaded | None:
            return load_burst(session, self._books, party, request.wamids, policy, at)

        try:
            answered = await answer(self._database, load, party, policy, request.key)
        except OutdatedError:
            raise ApplicationError(
                "the tenant's rules change faster than they can be read",
                type="Outdated",
                category=ApplicationErrorCategory.BENIGN,
            ) from None
        return answered.applied

    @activity.defn
    async def mark_read(self, request: ReplyRequest) -> None:
        """Mark the message as read, and show the typing indicator."""
        reply = await self._database.read(conversation_state.get_reply, request.key)
        if reply is None or reply.reply_to is None:
            return
        try:
            await self._api.mark_read(reply.phone_number_id, reply.reply_to, typing=True)
        except SendError as error:
            raise ApplicationError(
                str(error)[:500], category=ApplicationErrorCategory.BENIGN
            ) from None

    @activity.defn
    async def send_reply(self, request: ReplyRequest) -> str:
        """Start one message of an answer, after the preceding one; returns its id, or why it was not sent.

        Raises:
            ApplicationError: the preceding message is still in the queue.
        """
        reply = await self._database.read(conversation_state.get_reply, request.key)
        if reply is None or reply.status != "answered":
            return reply.reason if reply else "no such answer"
        at = now()
        if request.index == 0:
            reason = await self._obsolete(reply, at)
            if reason and not await self._started(reply):
                await self._database.write(conversation_state.drop, request.key, reason)
                return reason
        elif at < self._deadline(reply):
            await self._previous(reply, request.index - 1)
        expires_at = max(self._deadline(reply), at + timedelta(minutes=5))
        message = replace(new_message(reply, request.index), expires_at=expires_at)
        return await self._acceptor.answer(message, at)

    async def _obsolete(self, reply: AutoReply, at: datetime) -> str | None:
        if await self._database.read(conversation_state.taken_over, reply):
            return TAKEN_OVER
        return TOO_LATE if at >= self._deadline(reply) else None

    async def _started(self, reply: AutoReply) -> bool:
        """Whether an earlier try, whose result was lost, already started the answer."""
        handle = self._client.get_workflow_handle(reply_message_id(reply.tenant_id, reply.key, 0))
        try:
            await handle.describe()
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            return False
        return True

    def _deadline(self, reply: AutoReply) -> datetime:
        delay = timedelta(seconds=reply.delay_seconds)
        return reply.at + delay + self._policy.max_age

    async def _previous(self, reply: AutoReply, index: int) -> None:
        """Wait until the preceding message has left the queue, so that they arrive in order."""
        handle = self._client.get_workflow_handle(
            reply_message_id(reply.tenant_id, reply.key, index)
        )
        try:
            async with asyncio.timeout(_PREVIOUS_WAIT):
                await handle.result()
        except WorkflowFailureError:
            return  # a dead letter: the messages after it are sent anyway
        except TimeoutError:
            raise ApplicationError(
                "the message before this one is still in the queue",
                type="Waiting",
                category=ApplicationErrorCategory.BENIGN,
            ) from None
