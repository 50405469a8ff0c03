"""Fetching the health and statistics of numbers from Meta."""

from datetime import timedelta
from typing import Any, Final

import structlog
from temporalio import activity

from pytake.clock import now
from pytake.database.engine import Database
from pytake.insights import store as snapshots
from pytake.insights.contracts import SnapshotInput
from pytake.numbers import store as numbers
from pytake.numbers.tables import PhoneNumber
from pytake.temporal.queues import WORKFLOW_QUEUE, ByQueue
from pytake.texts import say
from pytake.webhooks.dispatch import Dispatcher
from pytake.whatsapp import insights as meta
from pytake.whatsapp.client import CloudApi, RefusedError, SendError
from pytake.whatsapp.errors import ErrorClass, rule_for
from pytake.whatsapp.insights import Usage

_log = structlog.get_logger()

_TOKEN_CODES: Final = (0, 102, 190)
_BUDGET_CODES: Final = (4, 17, 32, 613, 80007, 80008)
_HEALTH_SHARE: Final = 95.0
"""Percent of Meta's management call budget up to which numbers' fields are fetched."""
_DAYS_SHARE: Final = 80.0
"""The same for daily counts, which can wait."""
_PAUSE: Final = timedelta(minutes=15)
"""How long to pause when the budget is nearly spent and Meta names no time."""


class SnapshotActivities:
    """The activities, with their dependencies."""

    def __init__(self, api: CloudApi, database: Database, dispatcher: Dispatcher) -> None:
        self._api = api
        self._database = database
        self._dispatcher = dispatcher

    def activities(self) -> ByQueue:
        """Those that a worker registers, by queue."""
        return {WORKFLOW_QUEUE: [self.list_numbers, self.take_snapshot, self.take_days]}

    @activity.defn
    async def list_numbers(self) -> list[str]:
        """The ids of the numbers to take snapshots of."""
        rows: list[PhoneNumber] = await self._database.read(numbers.visible, None)
        return [row.id for row in rows]

    @activity.defn
    async def take_snapshot(self, request: SnapshotInput) -> str:
        """Fetch a number's fields; returns why that was not possible, ``""`` if it was."""
        (number,) = request.phone_number_ids
        if blocked := await self._blocked(number):
            return blocked
        try:
            health, usage = await meta.fetch_number(self._api, number)
        except SendError as error:
            return await self._failed(number, error)
        raised, _ = await self._database.write(snapshots.save, number, health, now())
        self._dispatcher.soon(raised)
        await self._pause_if_spent(number, usage, _HEALTH_SHARE)
        return ""

    @activity.defn
    async def take_days(self, request: SnapshotInput) -> str:
        """Fetch the daily counts of a number and of its account's templates; returns why that was not
        possible, ``""`` if it was.
        """
        (number,) = request.phone_number_ids
        if blocked := await self._blocked(number):
            return blocked
        row: PhoneNumber | None = await self._database.read(numbers.get, number)
        if row is None:
            return f"{number}: unknown"
        known = await self._database.read(snapshots.get, number)
        if known is None or known.body is None:
            # Without the displayed number the counts would be those of the whole account.
            if failed := await self.take_snapshot(request):
                return failed
            known = await self._database.read(snapshots.get, number)
        shown = known.health if known else None
        last = now().date()
        first = last - timedelta(days=request.days - 1)
        account = row.portfolio_id
        try:
            display = shown.display_phone_number if shown else None
            if display is None:
                return f"{number}: Meta does not tell how it is displayed"
            days, usage = await meta.fetch_days(self._api, account, display, first, last)
            await self._database.write(snapshots.save_days, number, days, now())
            if usage.percent < _DAYS_SHARE and usage.regain_minutes == 0:
                await self._templates(account, row.tenant_id, first)
        except SendError as error:
            return await self._failed(number, error)
        await self._pause_if_spent(number, usage, _DAYS_SHARE)
        return ""

    async def _templates(self, account: str, tenant_id: str, first: Any) -> None:
        templates = await meta.fetch_templates(self._api, account)
        await self._database.write(snapshots.save_templates, account, tenant_id, templates, now())
        ids = sorted({template.id for template in templates if template.id})
        counts = await meta.fetch_template_days(self._api, account, ids, first, now().date())
        await self._database.write(snapshots.save_template_days, account, tenant_id, counts, now())

    async def _blocked(self, number: str) -> str:
        known = await self._database.read(snapshots.get, number)
        if known is None or known.blocked_until is None or known.blocked_until <= now():
            return ""
        return f"{number}: {say('problem.budget', 'en')}"

    async def _pause_if_spent(self, number: str, usage: Usage, share: float) -> None:
        """Pause management calls for a number when Meta's budget is nearly spent."""
        if usage.percent < share and usage.regain_minutes == 0:
            return
        pause = timedelta(minutes=usage.regain_minutes) if usage.regain_minutes else _PAUSE
        _log.warning(
            "management calls paused", used_percent=usage.percent, minutes=pause.seconds / 60
        )
        problem = {"kind": "budget", "code": None, "detail": f"{usage.percent:g} %"}
        await self._database.write(snapshots.save_failure, number, problem, now(), now() + pause)

    async def _failed(self, number: str, error: SendError) -> str:
        """Store why a call failed, and return it."""
        code = error.code if isinstance(error, RefusedError) else None
        transient = code is not None and rule_for(code).error_class is ErrorClass.TRANSIENT
        if not isinstance(error, RefusedError) or transient:
            kind = "unreachable"
        elif code in _TOKEN_CODES:
            kind = "token"
        else:
            kind = "budget" if code in _BUDGET_CODES else "refused"
        until = now() + _PAUSE if kind == "budget" else None
        problem = {"kind": kind, "code": code, "detail": str(error)[:300]}
        await self._database.write(snapshots.save_failure, number, problem, now(), until)
        _log.warning("snapshot failed", phone_number_id=number, kind=kind, code=code)
        return f"{number}: {kind} {error}"[:300]
