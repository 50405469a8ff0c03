"""A number's last snapshot from Meta, its age, and taking a new one."""

import asyncio
from datetime import timedelta
from typing import Any, Final

from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.service import RPCError

from api.insights.schemas import DataAge, SnapshotProblem
from pytake.clock import now
from pytake.database.engine import Database
from pytake.insights import store
from pytake.insights.contracts import SNAPSHOT_WORKFLOW, SnapshotInput
from pytake.insights.tables import NumberSnapshot
from pytake.numbers.tables import PhoneNumber
from pytake.problems import UnavailableError
from pytake.temporal.queues import WORKFLOW_QUEUE
from pytake.texts import Language, say
from pytake.whatsapp.errors import rule_for
from pytake.whatsapp.number_health import NumberHealth

_ASK_SECONDS: Final = 8.0


class Snapshots:
    """The numbers' snapshots, which workers take every ``interval`` and on request."""

    def __init__(self, client: Client, database: Database, interval: timedelta) -> None:
        self._client = client
        self._database = database
        self._interval = interval

    async def health_of(
        self, number: PhoneNumber, language: Language, *, refresh: bool = False
    ) -> tuple[NumberHealth, DataAge]:
        """A number's last known health; takes a snapshot now if there is none or it is outdated.

        Raises:
            UnavailableError: nothing is known; the text says why.
        """
        snapshot: NumberSnapshot | None = await self._database.read(store.get, number.id)
        answered = True
        if refresh or self._outdated(snapshot):
            answered = await self.ask(number.id)
            snapshot = await self._database.read(store.get, number.id)
        age = self.age_of(snapshot, language, answered=answered)
        health = snapshot.health if snapshot else None
        if health is None:
            problem = age.problem
            raise UnavailableError(
                f"{problem.title}: {problem.advice}"
                if problem
                else "Meta was not asked yet: try again",
                code=problem.code if problem else None,
            )
        return health, age

    async def ask(self, phone_number_id: str, days: int = 0) -> bool:
        """Have a worker take a snapshot now; return whether it did so in time."""
        try:
            async with asyncio.timeout(_ASK_SECONDS):
                await self._client.execute_workflow(
                    SNAPSHOT_WORKFLOW,
                    SnapshotInput(phone_number_ids=[phone_number_id], days=days),
                    id=f"snapshot-{'days' if days else 'health'}-{phone_number_id}",
                    task_queue=WORKFLOW_QUEUE,
                    id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
                    id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                    execution_timeout=timedelta(minutes=5),
                )
        except (TimeoutError, RPCError):
            return False
        return True

    def _outdated(self, snapshot: NumberSnapshot | None) -> bool:
        if snapshot is None or snapshot.body is None:
            return True
        return now() - snapshot.attempted_at > store.stale_after(self._interval)

    def age_of(
        self,
        snapshot: NumberSnapshot | None,
        language: Language,
        *,
        answered: bool = True,
        of_days: bool = False,
    ) -> DataAge:
        """How old the data is, and why it is not newer."""
        fetched = (
            (snapshot.days_fetched_at if of_days else snapshot.fetched_at) if snapshot else None
        )
        age = (now() - fetched).total_seconds() if fetched else None
        limit = timedelta(days=2) if of_days else store.stale_after(self._interval)
        problem = _problem(snapshot.problem if snapshot else None, language)
        if problem is None and not answered:
            problem = SnapshotProblem(
                title=say("problem.workers", language),
                advice=say("problem.workers.advice", language),
            )
        stale = fetched is None or problem is not None or (age or 0) > limit.total_seconds()
        return DataAge(
            fetched_at=fetched,
            age_seconds=round(age, 1) if age is not None else None,
            stale=stale,
            problem=problem,
        )


def _problem(stored: dict[str, Any] | None, language: Language) -> SnapshotProblem | None:
    if stored is None:
        return None
    kind, code = stored.get("kind"), stored.get("code")
    return SnapshotProblem(
        code=code,
        title=say(
            f"problem.{kind}", language, value=rule_for(code).title if code is not None else ""
        ),
        advice=say(f"problem.{kind}.advice", language),
        detail=str(stored.get("detail") or ""),
    )
