"""Live queue statistics: how many messages are in which state, and what each number may send."""

import asyncio
from collections import Counter
from datetime import timedelta
from typing import Final

from sqlmodel import Session
from temporalio.client import Client

from api.insights import views
from api.insights.schemas import RateLimit, Stats
from pytake.access.principals import Principal
from pytake.clock import now
from pytake.database.engine import Database
from pytake.insights import counts as figures
from pytake.messages import store as messages
from pytake.messages.contracts import MESSAGE_WORKFLOW, SCHEDULED_WORKFLOW
from pytake.messages.status import DEAD_LETTERS, HELD_BY_META, Observation
from pytake.numbers import store as numbers
from pytake.numbers.states import NumberState
from pytake.numbers.tables import PhoneNumber
from pytake.process import heartbeats
from pytake.settings import WhatsAppSettings
from pytake.temporal.attributes import HOLD, NUMBER, PRIORITY, TENANT
from pytake.temporal.priority import Priority

_OVERDUE: Final = timedelta(minutes=5)
"""A retry that has been due for longer counts as pending in the queue."""


async def queue_stats(
    database: Database, client: Client, settings: WhatsAppSettings, principal: Principal
) -> Stats:
    """In flight from Temporal, finished from the database; a message is counted in one figure."""
    at = now()
    rows = await database.read(numbers.visible, principal.scope)
    main = views.main_number(rows, principal.scope, settings.phone_number_id)
    limits = await database.read(_rate_limits, rows, principal.scope)
    finished = await database.read(messages.count_by_status, principal.scope)
    retrying = await database.read(messages.count_retrying, principal.scope, at - _OVERDUE)
    sending = await database.read(heartbeats.sending, principal.scope, at)
    tenant = f" AND {TENANT.name} = '{principal.scope}'" if principal.scope is not None else ""
    stopped = [row.id for row in rows if row.stopped]
    flowing = "".join(f" AND {NUMBER.name} != '{number}'" for number in stopped)
    running = f"WorkflowType = '{MESSAGE_WORKFLOW}' AND ExecutionStatus = 'Running'{tenant}"
    scheduled, held_alone, *by_priority = await asyncio.gather(
        _count(
            client,
            f"WorkflowType = '{SCHEDULED_WORKFLOW}' AND ExecutionStatus = 'Running'{tenant}",
        ),
        _count(client, f"{running} AND {HOLD.name} IS NOT NULL{flowing}"),
        *(
            _count(
                client, f"{running} AND {HOLD.name} IS NULL AND {PRIORITY.name} = '{p}'{flowing}"
            )
            for p in Priority
        ),
    )
    held_numbers = [await _count(client, f"{running} AND {NUMBER.name} = '{n}'") for n in stopped]
    busy = Counter(sending) + Counter(retrying)
    pending = {
        priority.value: max(count - busy[priority.value], 0)
        for priority, count in zip(Priority, by_priority, strict=True)
    }
    return Stats(
        pending_total=sum(pending.values()),
        pending_by_priority=pending,
        scheduled=scheduled,
        processing=sum(sending.values()),
        retrying=sum(retrying.values()),
        held=held_alone + sum(held_numbers),
        held_by_meta=sum(finished.get(status, 0) for status in HELD_BY_META),
        sent=finished.get(Observation.ACCEPTED, 0) + finished.get(Observation.SENT, 0),
        delivered=finished.get(Observation.DELIVERED, 0),
        read=finished.get(Observation.READ, 0) + finished.get(Observation.PLAYED, 0),
        failed=sum(finished.get(status, 0) for status in DEAD_LETTERS),
        cancelled=finished.get(Observation.CANCELLED, 0),
        dead_letter=sum(finished.get(status, 0) for status in DEAD_LETTERS),
        rate_limit=limits[main.id] if main else _unused(settings),
        numbers=list(limits.values()),
    )


async def _count(client: Client, query: str) -> int:
    return (await client.count_workflows(query)).count


def _rate_limits(
    session: Session, rows: list[PhoneNumber], tenant_id: str | None
) -> dict[str, RateLimit]:
    limits = {}
    for row in rows:
        use = figures.window_use(session, row, now(), tenant_id)
        limits[row.id] = RateLimit(
            phone_number_id=row.id,
            state=row.state,
            tier=row.effective_tier,
            daily_limit=use.limit,
            used_24h=use.used,
            remaining_24h=use.remaining,
            messages_per_second=row.base_rate,
            current_rate=row.effective_rate,
        )
    return limits


def _unused(settings: WhatsAppSettings) -> RateLimit:
    """The configured number's limits before a worker has registered it."""
    return RateLimit(
        phone_number_id=settings.phone_number_id,
        state=NumberState.ACTIVE,
        tier=settings.tier.name,
        daily_limit=settings.tier.daily_limit,
        used_24h=0,
        remaining_24h=settings.tier.daily_limit,
        messages_per_second=settings.messages_per_second,
        current_rate=settings.messages_per_second,
    )
