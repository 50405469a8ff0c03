"""Telling conversations' workflows of inbound messages: after their commit, or by the sweep."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

import structlog
from temporalio.client import Client
from temporalio.common import (
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.service import RPCError

from pytake.clock import now
from pytake.contacts.hashing import ContactHashes
from pytake.conversations import inbox
from pytake.conversations.contracts import (
    CONVERSATION_WORKFLOW,
    INBOUND_SIGNAL,
    ConversationInput,
    InboundSignal,
    conversation_workflow_id,
)
from pytake.conversations.inbox import Waiting
from pytake.conversations.state import Party
from pytake.database.engine import UNAVAILABLE, Database
from pytake.temporal.attributes import CONTACT, NUMBER, TENANT
from pytake.temporal.queues import WORKFLOW_QUEUE

_log = structlog.get_logger()

_AT_ONCE: Final = 20
_RPC_TIMEOUT: Final = timedelta(seconds=10)


class ConversationStarter:
    """Signals workflows with start; what it misses, the sweep of any worker tells them."""

    def __init__(
        self, client: Client, database: Database, hashes: ContactHashes, debounce_seconds: float
    ) -> None:
        self._client = client
        self._database = database
        self._debounce = debounce_seconds
        self._hashes = hashes
        self._tasks: set[asyncio.Task[None]] = set()

    def soon(self, waiting: Sequence[Waiting]) -> None:
        """Tell them in the background."""
        if waiting:
            task = asyncio.create_task(self.tell(waiting))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def tell(self, waiting: Sequence[Waiting]) -> None:
        """Tell each conversation of its messages, in order, and note it; failures are left to the sweep."""
        parties: dict[Party, list[str]] = defaultdict(list)
        for message in waiting:
            parties[message.party].append(message.wamid)
        slots = asyncio.Semaphore(_AT_ONCE)

        async def one(party: Party, wamids: list[str]) -> None:
            async with slots:
                await self._signal(party, wamids)

        try:
            await asyncio.gather(*(one(party, wamids) for party, wamids in parties.items()))
            wamids = [message.wamid for message in waiting]
            await self._database.write(inbox.signalled, wamids, now())
        except (RPCError, *UNAVAILABLE) as error:
            _log.warning(
                "inbound messages left to the sweep", count=len(waiting), error=type(error).__name__
            )

    async def _signal(self, party: Party, wamids: list[str]) -> None:
        contact = await self._hashes.of(party.contact_key)
        attributes = TypedSearchAttributes(
            [
                SearchAttributePair(TENANT, party.tenant_id),
                SearchAttributePair(NUMBER, party.phone_number_id),
                SearchAttributePair(CONTACT, contact),
            ]
        )
        await self._client.start_workflow(
            CONVERSATION_WORKFLOW,
            ConversationInput(
                tenant_id=party.tenant_id,
                phone_number_id=party.phone_number_id,
                contact_key=party.contact_key,
                debounce_seconds=self._debounce,
            ),
            id=conversation_workflow_id(party.phone_number_id, contact),
            task_queue=WORKFLOW_QUEUE,
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            search_attributes=attributes,
            start_signal=INBOUND_SIGNAL,
            start_signal_args=[InboundSignal(wamids=wamids)],
            rpc_timeout=_RPC_TIMEOUT,
        )

    async def sweep(self) -> None:
        """Tell conversations of messages they missed."""
        missed = await self._database.read(inbox.unsignalled, now())
        if missed:
            _log.info("telling conversations of messages they missed", count=len(missed))
            await self.tell(missed)
