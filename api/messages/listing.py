"""Lists of messages: in flight from Temporal's visibility, finished from the database.

A page costs one visibility query and one database read, whatever its size; ``describe()``, which
knows the running activity, is for single messages.

As messages in flight come first, a message that finishes between two pages appears in the second
part, so that none is missed.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from temporalio.client import Client, WorkflowExecution
from temporalio.service import RPCError, RPCStatusCode

from api import paging as cursors
from api.links import WorkflowLinks
from api.messages import live as live_view
from api.messages import view as message_view
from api.messages.schemas import MessagePage, MessageView
from pytake.access.principals import Principal
from pytake.contacts.hashing import ContactHashes
from pytake.contacts.identities import InvalidRecipientError, contact_key, normalise
from pytake.database.engine import UNAVAILABLE, Database
from pytake.messages import in_flight
from pytake.messages import store as messages
from pytake.messages.contracts import (
    MESSAGE_WORKFLOW,
    MESSAGE_WORKFLOWS,
    SCHEDULED_WORKFLOW,
    MessageMemo,
)
from pytake.messages.in_flight import Known
from pytake.messages.status import PUBLIC, Status
from pytake.messages.store import MessageFilter
from pytake.problems import InvalidRequestError
from pytake.temporal.attributes import CONTACT, MEMO_MESSAGE, PRIORITY, TENANT
from pytake.temporal.priority import Priority

IN_FLIGHT: Final = frozenset(
    {Status.PENDING, Status.SCHEDULED, Status.PROCESSING, Status.RETRYING, Status.HELD}
)
_FINISHED: Final[cursors.Position] = {"before": None}
"""Where the finished messages begin."""


@dataclass(frozen=True, slots=True)
class MessageQuery:
    """The filter of a list."""

    status: Status | None
    recipient: str | None
    priority: Priority | None
    since: datetime | None
    until: datetime | None


class MessageLists:
    """Lists of messages, page by page."""

    def __init__(
        self,
        client: Client,
        database: Database,
        hashes: ContactHashes,
        links: WorkflowLinks,
        default_region: str,
    ) -> None:
        self._client = client
        self._database = database
        self._hashes = hashes
        self._links = links
        self._region = default_region

    async def page(
        self, principal: Principal, wanted: MessageQuery, limit: int, cursor: str | None
    ) -> MessagePage:
        """One page; ``next_cursor`` is ``None`` after the last.

        Raises:
            InvalidRequestError: the cursor or the recipient is not valid.
        """
        position = cursors.decode(cursor) if cursor else {}
        before = position.get("before")
        after = cursors.row_of(before) if before is not None else None
        page_token = None
        if "live" in position:
            page_token = cursors.token_of(await self._hashes.key(), position)
        contact = None
        if wanted.recipient:
            try:
                contact = contact_key(normalise(wanted.recipient, self._region))
            except InvalidRecipientError as error:
                raise InvalidRequestError.of("recipient", str(error)) from None
        found: list[MessageView] = []
        if "before" not in position and (wanted.status is None or wanted.status in IN_FLIGHT):
            found, following = await self._live(principal, wanted, contact, limit, page_token)
            if following:
                cursor = cursors.live(await self._hashes.key(), following)
                return MessagePage(messages=found, next_cursor=cursor)
        if wanted.status in IN_FLIGHT or len(found) >= limit:
            more = wanted.status not in IN_FLIGHT
            return MessagePage(
                messages=found, next_cursor=cursors.encode(_FINISHED) if more else None
            )
        rest = limit - len(found)
        finished, last = await self._finished(principal, wanted, contact, rest, after)
        return MessagePage(
            messages=found + finished,
            next_cursor=cursors.encode({"before": last}) if last else None,
        )

    async def _live(
        self,
        principal: Principal,
        wanted: MessageQuery,
        contact: str | None,
        limit: int,
        token: bytes | None,
    ) -> tuple[list[MessageView], bytes | None]:
        query = await self._query(principal, wanted, contact)
        try:
            listed = self._client.list_workflows(query, page_size=limit, next_page_token=token)
            await listed.fetch_next_page()
        except RPCError as error:
            if error.status is RPCStatusCode.INVALID_ARGUMENT:
                raise InvalidRequestError.of(
                    "cursor", "is not one that this API gave out"
                ) from None
            raise
        views = await self._views(principal, listed.current_page or [])
        wanted_views = [view for view in views if wanted.status in (None, view.status)]
        return wanted_views, listed.next_page_token

    async def _views(
        self, principal: Principal, page: Sequence[WorkflowExecution]
    ) -> list[MessageView]:
        """The views of a page's messages, from visibility and one database read."""
        known = Known()
        with suppress(*UNAVAILABLE):  # queued messages can be listed without it
            known = await self._database.read(in_flight.known, [item.id for item in page])
        views = []
        for execution in page:
            memo = MessageMemo.model_validate((await execution.memo())[MEMO_MESSAGE])
            if principal.sees(memo.tenant_id) and execution.id not in known.finished:
                views.append(live_view.listed(execution, memo, known, self._links))
        return views

    async def _query(self, principal: Principal, wanted: MessageQuery, contact: str | None) -> str:
        """The visibility query; every value in it is ours or validated."""
        kinds = " OR ".join(f"WorkflowType = '{kind}'" for kind in MESSAGE_WORKFLOWS)
        if wanted.status is Status.SCHEDULED:
            kinds = f"WorkflowType = '{SCHEDULED_WORKFLOW}'"
        elif wanted.status is not None:
            kinds = f"WorkflowType = '{MESSAGE_WORKFLOW}'"
        parts = [f"({kinds})", "ExecutionStatus = 'Running'"]
        if principal.scope is not None:
            parts.append(f"{TENANT.name} = '{principal.scope}'")
        if wanted.priority:
            parts.append(f"{PRIORITY.name} = '{wanted.priority.value}'")
        if contact:
            parts.append(f"{CONTACT.name} = '{await self._hashes.of(contact)}'")
        if wanted.since:
            parts.append(f"StartTime >= '{wanted.since.isoformat()}'")
        if wanted.until:
            parts.append(f"StartTime < '{wanted.until.isoformat()}'")
        return " AND ".join(parts)

    async def _finished(
        self,
        principal: Principal,
        wanted: MessageQuery,
        contact: str | None,
        limit: int,
        after: tuple[datetime, str] | None,
    ) -> tuple[list[MessageView], list[str] | None]:
        statuses = tuple(o for o, public in PUBLIC.items() if public is wanted.status)
        wanted_rows = MessageFilter(
            statuses,
            contact,
            wanted.priority.value if wanted.priority else None,
            wanted.since,
            wanted.until,
        )
        rows = await self._database.read(
            messages.list_finished, principal.scope, wanted_rows, limit + 1, after
        )
        views = [message_view.finished(row, [], self._links) for row in rows[:limit]]
        last = rows[limit - 1] if len(rows) > limit else None
        return views, [last.created_at.isoformat(), last.id] if last else None
