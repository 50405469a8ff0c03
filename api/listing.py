"""Lists of messages: in flight from Temporal's visibility, finished from the database.

A list is read in that order, so that a message which finishes between two pages is met in the second
part: none is missed.
"""

import asyncio
import base64
import json
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from temporalio.client import WorkflowExecution
from temporalio.service import RPCError, RPCStatusCode

from api import message_view
from api.dependencies import Principal, Services
from api.errors import InvalidRequestError
from api.schemas import MessagePage, MessageView
from pytake.contracts import MessageMemo
from pytake.domain.priority import Priority
from pytake.domain.recipients import InvalidRecipientError, contact_key, normalise
from pytake.domain.status import PUBLIC, Status
from pytake.storage import messages
from pytake.storage.engine import UNAVAILABLE
from pytake.storage.messages import MessageFilter
from pytake.storage.tables import SendAttempt
from pytake.temporal import CONTACT, MEMO_MESSAGE, PRIORITY, TENANT

IN_FLIGHT: Final = frozenset(
    {Status.PENDING, Status.SCHEDULED, Status.PROCESSING, Status.RETRYING, Status.HELD}
)
_DESCRIBE_AT_ONCE: Final = 20


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a list asks for."""

    status: Status | None
    recipient: str | None
    priority: Priority | None
    since: datetime | None
    until: datetime | None


async def page(
    services: Services, principal: Principal, wanted: Wanted, limit: int, cursor: str | None
) -> MessagePage:
    """One page; ``next_cursor`` is ``None`` after the last.

    Raises:
        InvalidRequestError: the cursor or the recipient is not valid.
    """
    position = _decode(cursor) if cursor else {}
    contact = None
    if wanted.recipient:
        try:
            contact = contact_key(normalise(wanted.recipient, services.settings.default_region))
        except InvalidRecipientError as error:
            raise InvalidRequestError.of("recipient", str(error)) from None
    found: list[MessageView] = []
    if "before" not in position and (wanted.status is None or wanted.status in IN_FLIGHT):
        found, token = await _live(
            services, principal, wanted, contact, limit, position.get("live")
        )
        if token:
            return MessagePage(messages=found, next_cursor=_encode({"live": token}))
    if wanted.status in IN_FLIGHT or len(found) >= limit:
        more = wanted.status not in IN_FLIGHT
        return MessagePage(messages=found, next_cursor=_encode({"before": None}) if more else None)
    rest = limit - len(found)
    finished, last = await _finished(
        services, principal, wanted, contact, rest, position.get("before")
    )
    return MessagePage(
        messages=found + finished, next_cursor=_encode({"before": last}) if last else None
    )


async def _live(
    services: Services,
    principal: Principal,
    wanted: Wanted,
    contact: str | None,
    limit: int,
    token: str | None,
) -> tuple[list[MessageView], str | None]:
    query = await _query(services, principal, wanted, contact)
    try:
        listed = services.client.list_workflows(
            query, page_size=limit, next_page_token=base64.b64decode(token) if token else None
        )
        await listed.fetch_next_page()
    except RPCError as error:
        if error.status is RPCStatusCode.INVALID_ARGUMENT:
            raise InvalidRequestError.of("cursor", "is not one that this API gave out") from None
        raise
    slots = asyncio.Semaphore(_DESCRIBE_AT_ONCE)

    async def view(execution: WorkflowExecution) -> MessageView | None:
        async with slots:
            return await _view(services, principal, execution)

    views = await asyncio.gather(*(view(e) for e in listed.current_page or []))
    wanted_views = [
        v for v in views if v and v.status in IN_FLIGHT and wanted.status in (None, v.status)
    ]
    following = listed.next_page_token
    return wanted_views, base64.b64encode(following).decode() if following else None


async def _view(
    services: Services, principal: Principal, execution: WorkflowExecution
) -> MessageView | None:
    description = await message_view.describe(services, execution.id)
    if description is None:
        return None
    memo = MessageMemo.model_validate((await description.memo())[MEMO_MESSAGE])
    if not principal.sees(memo.tenant_id):
        return None
    attempts: list[SendAttempt] = []
    if memo.direct:  # the wait for its second attempt is in no activity
        with suppress(*UNAVAILABLE):
            attempts = await services.database.read(messages.attempts_of, execution.id)
    return await message_view.in_flight(services, description, memo, attempts)


async def _query(
    services: Services, principal: Principal, wanted: Wanted, contact: str | None
) -> str:
    """Visibility's query; every value in it is of our own making or checked."""
    kinds = " OR ".join(f"WorkflowType = '{kind}'" for kind in message_view.MESSAGE_WORKFLOWS)
    if wanted.status is Status.SCHEDULED:
        kinds = f"WorkflowType = '{message_view.SCHEDULED_WORKFLOW}'"
    elif wanted.status is not None:
        kinds = "WorkflowType = 'MessageWorkflow'"
    parts = [f"({kinds})", "ExecutionStatus = 'Running'"]
    if principal.scope is not None:
        parts.append(f"{TENANT.name} = '{principal.scope}'")
    if wanted.priority:
        parts.append(f"{PRIORITY.name} = '{wanted.priority.value}'")
    if contact:
        parts.append(f"{CONTACT.name} = '{await services.contact_hash(contact)}'")
    if wanted.since:
        parts.append(f"StartTime >= '{wanted.since.isoformat()}'")
    if wanted.until:
        parts.append(f"StartTime < '{wanted.until.isoformat()}'")
    return " AND ".join(parts)


async def _finished(
    services: Services,
    principal: Principal,
    wanted: Wanted,
    contact: str | None,
    limit: int,
    before: Any,
) -> tuple[list[MessageView], list[str] | None]:
    statuses = tuple(o for o, public in PUBLIC.items() if public is wanted.status)
    wanted_rows = MessageFilter(
        statuses,
        contact,
        wanted.priority.value if wanted.priority else None,
        wanted.since,
        wanted.until,
    )
    position = _position(before) if before else None
    rows = await services.database.read(
        messages.list_finished, principal.scope, wanted_rows, limit + 1, position
    )
    views = [message_view.finished(services, row, []) for row in rows[:limit]]
    last = rows[limit - 1] if len(rows) > limit else None
    return views, [last.created_at.isoformat(), last.id] if last else None


def encode_cursor(at: datetime, row_id: str) -> str:
    """The cursor behind a row of a list in order of time."""
    return _encode({"before": [at.isoformat(), row_id]})


def decode_cursor(cursor: str) -> tuple[datetime, str]:
    """The row that a cursor stands behind.

    Raises:
        InvalidRequestError: it is none of ours.
    """
    return _position(_decode(cursor).get("before"))


def _position(before: Any) -> tuple[datetime, str]:
    try:
        return datetime.fromisoformat(before[0]), str(before[1])
    except (ValueError, TypeError, LookupError):
        raise InvalidRequestError.of("cursor", "is not one that this API gave out") from None


def _encode(position: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(position).encode()).decode()


def _decode(cursor: str) -> dict[str, Any]:
    try:
        position = json.loads(base64.urlsafe_b64decode(cursor.encode()))
    except ValueError:
        position = None
    if not isinstance(position, dict) or not isinstance(position.get("live", ""), str):
        raise InvalidRequestError.of("cursor", "is not one that this API gave out")
    return position
