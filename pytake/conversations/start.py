"""Signalling inbound messages to conversation workflows: after their commit, or by the sweep."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import timedelta
from functools import partial
from typing import Final

from temporalio.client import Client
from temporalio.common import (
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)

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
from pytake.conversations.party import Party
from pytake.database.engine import Database
from pytake.process.outbox import Outbox, Step
from pytake.temporal.attributes import CONTACT, NUMBER, TENANT
from pytake.temporal.queues import WORKFLOW_QUEUE

_RPC_TIMEOUT: Final = timedelta(seconds=10)


class ConversationStarter(Outbox[Waiting]):
    """Signals conversation workflows with start; what it misses, the sweep of any worker signals."""

    items = "inbound messages"

    def __init__(
        self, client: Client, database: Database, hashes: ContactHashes, debounce_seconds: float
    ) -> None:
        super().__init__()
        self._client = client
        self._database = database
        self._hashes = hashes
        self._debounce = debounce_seconds

    def _steps(self, items: Sequence[Waiting]) -> Iterable[Step[Waiting]]:
        """One signal per conversation, with all its messages in order."""
        parties: dict[Party, list[Waiting]] = defaultdict(list)
        for message in items:
            parties[message.party].append(message)
        return [
            Step(waiting, partial(self._signal, party, [message.wamid for message in waiting]))
            for party, waiting in parties.items()
        ]

    async def _begin(self, item: Waiting) -> None:
        await self._signal(item.party, [item.wamid])

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

    async def _begun(self, items: Sequence[Waiting]) -> None:
        await self._database.write(
            inbox.mark_signalled, [message.wamid for message in items], now()
        )

    async def _missed(self, skip: int) -> Sequence[Waiting]:
        missed: list[Waiting] = await self._database.read(inbox.unsignalled, now(), skip)
        return missed
