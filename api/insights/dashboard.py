"""The dashboard: everything a team looks at first."""

import asyncio
from datetime import datetime, timedelta

from fastapi import APIRouter
from sqlmodel import Session
from temporalio.client import Client

from api.dependencies import ClientDep, DatabaseDep, PrincipalDep, SettingsDep
from api.errors import documented
from api.fields import NumberQuery
from api.insights import views
from api.insights.dependencies import SnapshotsDep
from api.insights.schemas import Comparison, Dashboard, DataAge, Overview
from api.language import LanguageDep
from api.numbers.schemas import AlertItem
from pytake.clock import now
from pytake.insights import counts as figures
from pytake.insights import store
from pytake.insights.counts import Scope
from pytake.insights.health import score
from pytake.messages.contracts import MESSAGE_WORKFLOWS
from pytake.numbers import store as numbers
from pytake.numbers.states import NumberState
from pytake.numbers.tables import PhoneNumber
from pytake.problems import InvalidRequestError, NotFoundError, UnauthorizedError, UnavailableError
from pytake.temporal.attributes import NUMBER, TENANT
from pytake.texts import Language, say

router = APIRouter(prefix="/api/v1/whatsapp", tags=["whatsapp metrics"])

_NEAR_LIMIT = 0.8
_SEVERITIES = ("critical", "warning")


@router.get(
    "/dashboard",
    responses=documented(UnauthorizedError, NotFoundError, InvalidRequestError, UnavailableError),
)
async def dashboard(
    database: DatabaseDep,
    client: ClientDep,
    snapshots: SnapshotsDep,
    settings: SettingsDep,
    principal: PrincipalDep,
    language: LanguageDep,
    phone_number_id: NumberQuery = None,
) -> Dashboard:
    """Numbers at a glance, today against the same weekday before, alerts, recommendations."""
    main = await views.pick_number(database, settings.whatsapp, principal, phone_number_id)
    rows = [main]
    if phone_number_id is None:
        rows = await views.read_or_503(database, numbers.visible, principal.scope)
    snapshot = await views.read_or_503(database, store.get, main.id)
    if snapshot is None:  # the dashboard works without it
        await snapshots.ask(main.id)
        snapshot = await views.read_or_503(database, store.get, main.id)
    pending = await asyncio.gather(*(_in_flight(client, row.id, principal.scope) for row in rows))
    scope = views.scope_of(principal, main if phone_number_id else None)
    age = snapshots.age_of(snapshot, language)
    result: Dashboard = await views.read_or_503(
        database,
        _dashboard,
        rows,
        dict(zip((r.id for r in rows), pending, strict=True)),
        scope,
        age,
        language,
    )
    return result


async def _in_flight(client: Client, number: str, tenant_id: str | None) -> int:
    query = (
        f"WorkflowType IN {MESSAGE_WORKFLOWS} "
        f"AND ExecutionStatus = 'Running' AND {NUMBER.name} = '{number}'"
    )
    if tenant_id is not None:
        query += f" AND {TENANT.name} = '{tenant_id}'"
    return (await client.count_workflows(query)).count


def _dashboard(
    session: Session,
    rows: list[PhoneNumber],
    pending: dict[str, int],
    scope: Scope,
    age: DataAge,
    language: Language,
) -> Dashboard:
    at = now()
    week = figures.total(session, scope, at - views.WEEK, at)
    overview = [_overview(session, row, scope, pending[row.id], at) for row in rows]
    alerts = _alerts(session, rows, scope, age, at, language)
    advice = [alert.advice for alert in alerts]
    for row in rows:
        of_number = Scope(scope.tenant_id, row.id)
        factors = views.risk_factors(session, row, of_number, at, language)
        advice += [factor.advice for factor in factors]
    return Dashboard(
        overview=overview,
        comparison=_comparison(session, scope, at),
        last_7_days=views.own(week),
        rates=views.rates(week),
        alerts=alerts,
        recommendations=list(dict.fromkeys(filter(None, advice))),
        data=age,
    )


def _overview(
    session: Session, row: PhoneNumber, scope: Scope, pending: int, at: datetime
) -> Overview:
    snapshot = store.get(session, row.id)
    fields = snapshot.health if snapshot else None
    use = figures.window_use(session, row, at, scope.tenant_id)
    return Overview(
        phone_number_id=row.id,
        display_phone_number=fields.display_phone_number if fields else None,
        verified_name=fields.verified_name if fields else None,
        health_score=score(fields)[0] if fields else None,
        quality_rating=fields.quality_rating if fields else "UNKNOWN",
        status=fields.status if fields else "UNKNOWN",
        state=row.state,
        tier=row.effective_tier,
        used_24h=use.used,
        remaining_24h=use.remaining,
        messages_per_second=row.effective_rate,
        pending=pending,
    )


def _comparison(session: Session, scope: Scope, at: datetime) -> Comparison:
    """Today (UTC) so far, and the same hours a week earlier."""
    midnight = at.replace(hour=0, minute=0, second=0, microsecond=0)
    today = figures.total(session, scope, midnight, at)
    week = timedelta(days=7)
    before = figures.total(session, scope, midnight - week, at - week)
    return Comparison(
        date=midnight.date(),
        today=views.own(today),
        before=views.own(before),
        change={
            name: _change(getattr(today, name), getattr(before, name))
            for name in ("sent", "delivered", "read", "failed", "received")
        },
    )


def _change(today: int, before: int) -> float | None:
    return round((today - before) / before, 4) if before else None


def _alerts(
    session: Session,
    rows: list[PhoneNumber],
    scope: Scope,
    age: DataAge,
    at: datetime,
    language: Language,
) -> list[AlertItem]:
    """Stored alerts, and those derived from the numbers' state; the most severe first."""
    mine = {row.id for row in rows}
    found = [
        views.alert_item(alert, language)
        for alert in numbers.open_alerts(session, scope.tenant_id)
        if alert.phone_number_id is None or alert.phone_number_id in mine
    ]
    for row in rows:
        found += _state_alerts(session, row, scope, at, language)
    if age.problem is not None and age.age_seconds is not None:
        minutes = age.age_seconds / 60
        title = say("stale", language, minutes=minutes, problem=age.problem.title)
        found.append(
            AlertItem(
                kind="stale",
                severity="warning",
                phone_number_id=None,
                title=title,
                advice=age.problem.advice or say("stale.advice", language),
                since=age.fetched_at,
            )
        )
    return sorted(found, key=lambda alert: _SEVERITIES.index(alert.severity))


def _state_alerts(
    session: Session, row: PhoneNumber, scope: Scope, at: datetime, language: Language
) -> list[AlertItem]:
    found = []
    use = figures.window_use(session, row, at, scope.tenant_id)
    if use.limit is not None and use.used >= _NEAR_LIMIT * use.limit:
        found.append(
            AlertItem(
                kind="limit_near",
                severity="warning",
                phone_number_id=row.id,
                title=say("limit_near", language, used=use.used, limit=use.limit),
                advice=say("limit_near.advice", language),
                since=None,
            )
        )
    if row.state == NumberState.THROTTLED:
        found.append(
            AlertItem(
                kind="throttled",
                severity="warning",
                phone_number_id=row.id,
                title=say("throttled", language, rate=row.current_rate, allowed=row.base_rate),
                advice=say("throttled.advice", language),
                since=row.state_since,
            )
        )
    if row.state == NumberState.PAUSED:
        found.append(
            AlertItem(
                kind="number_paused",
                severity="warning",
                phone_number_id=row.id,
                title=say("number_paused", language),
                advice=say("number_paused.advice", language, number=row.id),
                since=row.state_since,
            )
        )
    return found
