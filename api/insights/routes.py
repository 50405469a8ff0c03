"""WhatsApp metrics: health, analytics, quality, limits, dashboard."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Query
from sqlmodel import Session

from api.dependencies import DatabaseDep, PrincipalDep, SettingsDep
from api.errors import documented
from api.fields import NumberQuery
from api.insights import views
from api.insights.dependencies import SnapshotsDep
from api.insights.schemas import (
    Analytics,
    CategoryCount,
    DataAge,
    Difference,
    FailureCount,
    HealthView,
    Limits,
    MetaCounts,
    NextTier,
    Period,
    Quality,
    QualityChange,
    ScorePart,
    TemplateCount,
    Throttling,
    Timing,
)
from api.language import LanguageDep
from pytake.clock import now
from pytake.insights import counts as figures
from pytake.insights import store
from pytake.insights.counts import Counts, Scope
from pytake.insights.health import Deduction, score
from pytake.insights.tables import MetaDay, NumberSnapshot
from pytake.numbers.states import NumberState
from pytake.numbers.tables import PhoneNumber
from pytake.problems import InvalidRequestError, NotFoundError, UnauthorizedError, UnavailableError
from pytake.texts import Language, say
from pytake.whatsapp.errors import hold_rule, rule_for
from pytake.whatsapp.errors_pt import advice_in
from pytake.whatsapp.limits import Tier, next_tier, parse_tier
from pytake.whatsapp.number_health import NumberHealth

router = APIRouter(prefix="/api/v1/whatsapp", tags=["whatsapp metrics"])

_COMMON = documented(UnauthorizedError, NotFoundError, InvalidRequestError, UnavailableError)
_MAX_DAYS: Final = 90
_FIRST_DAY: Final = date(2020, 1, 1)
_ASK_DAYS: Final = 366
"""The most days of counts that Meta is asked for."""
_COUNTS_VALID: Final = timedelta(hours=6, minutes=30)
"""Meta's counts are fetched every six hours; older ones are refreshed by the request."""
_MAX_HOURS: Final = 14 * 24


@router.get("/health", responses=_COMMON)
async def health(
    database: DatabaseDep,
    snapshots: SnapshotsDep,
    settings: SettingsDep,
    principal: PrincipalDep,
    language: LanguageDep,
    phone_number_id: NumberQuery = None,
    refresh: Annotated[bool, Query(description="Ask Meta now")] = False,
) -> HealthView:
    """A number's health as reported by Meta, and its score; if Meta is down, the last known with its age."""
    number = await views.pick_number(database, settings.whatsapp, principal, phone_number_id)
    fields, age = await snapshots.health_of(number, language, refresh=refresh)
    points, lost = score(fields)
    values = fields.model_dump(exclude={"platform_type"})
    parts = [_score_part(item, language) for item in lost]
    return HealthView(
        phone_number_id=number.id, **values, health_score=points, score_parts=parts, data=age
    )


def _score_part(item: Deduction, language: Language) -> ScorePart:
    key = f"quality_{item.value.lower()}" if item.key == "quality" else item.key
    return ScorePart(
        **item.model_dump(),
        title=say(key, language, value=item.value),
        advice=say(f"{key}.advice", language, value=item.value),
    )


@router.get("/analytics", responses=_COMMON)
async def analytics(
    database: DatabaseDep,
    snapshots: SnapshotsDep,
    settings: SettingsDep,
    principal: PrincipalDep,
    language: LanguageDep,
    days: Annotated[int, Query(ge=1, le=_MAX_DAYS)] = 7,
    start: Annotated[date | None, Query(description="First day (UTC), instead of days")] = None,
    end: Annotated[date | None, Query(description="Last day (UTC); today if left out")] = None,
    granularity: Literal["day", "hour"] = "day",
    phone_number_id: NumberQuery = None,
    refresh: Annotated[bool, Query(description="Ask Meta now")] = False,
) -> Analytics:
    """Sent messages and their outcomes: PyTake's counts, Meta's, and the difference."""
    at = now()
    first, last = _days(days, start, end, at)
    if granularity == "hour" and (last - first).days * 24 >= _MAX_HOURS:
        raise InvalidRequestError.of("granularity", "hours are given for at most 14 days")
    number = await views.pick_number(database, settings.whatsapp, principal, phone_number_id)
    scope = views.scope_of(principal, number)
    snapshot = await views.read_or_503(database, store.get, number.id)
    if refresh or snapshot is None or _old(snapshot, at):
        await snapshots.ask(number.id, days=min((at.date() - first).days + 1, _ASK_DAYS))
        snapshot = await views.read_or_503(database, store.get, number.id)
    age = snapshots.age_of(snapshot, language, of_days=True)
    wanted = _Wanted(
        first, last, timedelta(hours=1) if granularity == "hour" else timedelta(days=1)
    )
    result: Analytics = await views.read_or_503(
        database, _analytics, number, scope, wanted, language, age
    )
    return result


def _old(snapshot: NumberSnapshot, at: datetime) -> bool:
    """Whether Meta's counts are old enough to be fetched again."""
    fetched = snapshot.days_fetched_at
    return fetched is None or at - fetched > _COUNTS_VALID


@dataclass(frozen=True, slots=True)
class _Wanted:
    first: date
    last: date
    step: timedelta

    @property
    def start(self) -> datetime:
        return datetime.combine(self.first, time(), UTC)

    @property
    def end(self) -> datetime:
        return datetime.combine(self.last + timedelta(days=1), time(), UTC)


def _days(days: int, start: date | None, end: date | None, at: datetime) -> tuple[date, date]:
    last = end or at.date()
    if last < _FIRST_DAY:
        raise InvalidRequestError.of("end", f"is before {_FIRST_DAY}: there was no Cloud API")
    first = start or last - timedelta(days=days - 1)
    if first > last:
        raise InvalidRequestError.of("start", "must not be after end")
    if last > at.date() + timedelta(days=1):
        raise InvalidRequestError.of("end", "is in the future")
    if (last - first).days >= _MAX_DAYS:
        raise InvalidRequestError.of("start", f"at most {_MAX_DAYS} days at a time")
    return first, last


def _analytics(
    session: Session,
    number: PhoneNumber,
    scope: Scope,
    wanted: _Wanted,
    language: Language,
    age: DataAge,
) -> Analytics:
    start, end = wanted.start, wanted.end
    edges = figures.edges_of(start, end, wanted.step)
    periods = figures.counts(session, scope, edges)
    total = figures.total(session, scope, start, end)
    rows = store.days_of(session, number.id, wanted.first, wanted.last)
    whole = views.owns(session, scope, number)
    by_day = {row.day: row for row in rows if whole and views.since_owned(scope, number, row.day)}
    daily = wanted.step == timedelta(days=1)
    meta_total = _meta(list(by_day.values())) if by_day else None
    timing = {
        name: figures.durations(session, scope, start, end, name)
        for name in ("delivered_at", "read_at")
    }
    return Analytics(
        phone_number_id=number.id,
        start=start,
        end=end,
        granularity="day" if daily else "hour",
        total=views.own(total),
        meta_total=meta_total,
        difference=_difference(total, meta_total),
        rates=views.rates(total),
        periods=[
            _period(a, b, counted, by_day.get(a.date()) if daily else None)
            for a, b, counted in zip(edges, edges[1:], periods, strict=False)
        ],
        categories=_categories(
            figures.by_category(session, scope, start, end), list(by_day.values())
        ),
        templates=_templates(session, number, scope, wanted),
        failures=[
            FailureCount(
                code=code,
                title=title,
                count=count,
                advice=advice_in(rule_for(code if code is not None else -1), language),
            )
            for code, title, count in figures.failures(session, scope, start, end)
        ],
        time_to_delivery=Timing(
            median_seconds=timing["delivered_at"].median, p95_seconds=timing["delivered_at"].p95
        ),
        time_to_read=Timing(
            median_seconds=timing["read_at"].median, p95_seconds=timing["read_at"].p95
        ),
        data=age,
    )


def _meta(rows: list[MetaDay]) -> MetaCounts:
    return MetaCounts(
        sent=sum(row.sent for row in rows), delivered=sum(row.delivered for row in rows)
    )


def _difference(counts: Counts, meta: MetaCounts | None) -> Difference | None:
    if meta is None:
        return None
    return Difference(sent=counts.sent - meta.sent, delivered=counts.delivered - meta.delivered)


def _period(start: datetime, end: datetime, counts: Counts, row: MetaDay | None) -> Period:
    meta = _meta([row]) if row else None
    return Period(
        start=start,
        end=end,
        own=views.own(counts),
        meta=meta,
        difference=_difference(counts, meta),
    )


def _categories(ours: dict[str, int], rows: list[MetaDay]) -> list[CategoryCount]:
    theirs: dict[str, tuple[int, float]] = {}
    for row in rows:
        for category, (volume, cost) in row.categories.items():
            before = theirs.get(category, (0, 0.0))
            theirs[category] = (before[0] + volume, before[1] + cost)
    counts = []
    for category in sorted({*ours, *theirs}):
        volume, cost = theirs.get(category, (0, 0.0)) if rows else (None, None)
        delivered = ours.get(category, 0)
        counts.append(
            CategoryCount(
                category=category,
                own_delivered=delivered,
                meta_volume=volume,
                meta_cost=round(cost, 4) if cost is not None else None,
                difference=delivered - volume if volume is not None else None,
            )
        )
    return counts


def _templates(
    session: Session, number: PhoneNumber, scope: Scope, wanted: _Wanted
) -> list[TemplateCount]:
    ids = {t.name: t.template_id for t in store.templates_of(session, number.portfolio_id)}
    theirs = store.template_days(session, number.portfolio_id, wanted.first, wanted.last)
    theirs = theirs if views.owns_account(session, scope, number) else {}
    return [
        TemplateCount(name=name, own=views.own(counts), meta=theirs.get(ids.get(name, "")))
        for name, counts in figures.by_template(session, scope, wanted.start, wanted.end)
    ]


@router.get("/quality", responses=_COMMON)
async def quality(
    database: DatabaseDep,
    snapshots: SnapshotsDep,
    settings: SettingsDep,
    principal: PrincipalDep,
    language: LanguageDep,
    phone_number_id: NumberQuery = None,
) -> Quality:
    """The quality rating, its history, and risks to it in the last seven days."""
    number = await views.pick_number(database, settings.whatsapp, principal, phone_number_id)
    fields, age = await snapshots.health_of(number, language)
    scope = views.scope_of(principal, number)
    result: Quality = await views.read_or_503(
        database, _quality, number, scope, fields, language, age
    )
    return result


def _quality(
    session: Session,
    number: PhoneNumber,
    scope: Scope,
    fields: NumberHealth,
    language: Language,
    age: DataAge,
) -> Quality:
    changes = [
        change
        for change in store.changes(session, number.id)
        if views.since_owned(scope, number, change.at.date())
    ]
    rated = [change for change in changes if change.field == "quality_rating"]
    factors = views.risk_factors(session, number, scope, now(), language)
    advice = [factor.advice for factor in factors]
    if fields.quality_rating != "GREEN":
        advice.insert(0, say(f"quality_{fields.quality_rating.lower()}.advice", language))
    return Quality(
        phone_number_id=number.id,
        quality_rating=fields.quality_rating,
        since=rated[0].at if rated else None,
        history=[
            QualityChange(at=c.at, field=c.field, before=c.before, after=c.after) for c in changes
        ],
        risk_factors=factors,
        recommendations=list(dict.fromkeys(advice)),
        data=age,
    )


@router.get("/limits", responses=_COMMON)
async def limits(
    database: DatabaseDep,
    settings: SettingsDep,
    principal: PrincipalDep,
    language: LanguageDep,
    phone_number_id: NumberQuery = None,
) -> Limits:
    """A number's limits, how much of them is used, and what raises the messaging limit."""
    number = await views.pick_number(database, settings.whatsapp, principal, phone_number_id)
    snapshot = await views.read_or_503(database, store.get, number.id)
    fields = snapshot.health if snapshot else None
    result: Limits = await views.read_or_503(
        database, _limits, number, views.scope_of(principal, number), fields, language
    )
    return result


def _limits(
    session: Session,
    number: PhoneNumber,
    scope: Scope,
    fields: NumberHealth | None,
    language: Language,
) -> Limits:
    at = now()
    tier = parse_tier(number.effective_tier)
    use = figures.window_use(session, number, at, scope.tenant_id)
    stopped = number.stopped
    return Limits(
        phone_number_id=number.id,
        tier=tier.name,
        tier_source="meta" if number.reported_tier else "configured",
        daily_limit=use.limit,
        used=use.used,
        remaining=use.remaining,
        next_frees_at=use.frees_at,
        messages_per_second_allowed=number.base_rate,
        messages_per_second_current=0.0 if stopped else number.current_rate,
        messages_per_second_used=figures.rate_over_last_minute(session, scope, at),
        throttling=_throttling(number, language),
        next_tier=_next_tier(session, tier, scope, fields, at, language),
    )


def _throttling(number: PhoneNumber, language: Language) -> Throttling | None:
    if number.state == NumberState.ACTIVE:
        return None
    if number.state == NumberState.THROTTLED:
        title = say("throttled", language, rate=number.current_rate, allowed=number.base_rate)
        advice = say("throttled.advice", language)
    elif number.state == NumberState.PAUSED:
        title = say("number_paused", language)
        advice = say("number_paused.advice", language, number=number.id)
    else:
        title = say("number_held", language, value=number.reason)
        advice = advice_in(hold_rule(number.reason_code or 0), language)
    values: dict[str, Any] = {"state": number.state, "since": number.state_since}
    return Throttling(**values, title=title, advice=advice, next_probe_at=number.next_probe_at)


def _next_tier(
    session: Session,
    tier: Tier,
    scope: Scope,
    fields: NumberHealth | None,
    at: datetime,
    language: Language,
) -> NextTier | None:
    """The next limit: Meta raises it once half of the current one is used within 7 days at good quality."""
    higher = next_tier(tier)
    if higher is None or tier.daily_limit is None:
        return None
    needed = tier.daily_limit // 2
    reached = figures.reached_contacts(session, scope, at - views.WEEK)
    eligible = fields is None or (
        fields.quality_rating != "RED" and fields.status in ("CONNECTED", "UNKNOWN")
    )
    if not eligible and fields is not None:
        text = say(
            "next_tier_blocked", language, quality=fields.quality_rating, status=fields.status
        )
    elif higher.daily_limit is None:
        text = say("next_tier_unlimited", language, needed=needed, reached=reached)
    else:
        text = say("next_tier", language, limit=higher.daily_limit, needed=needed, reached=reached)
    return NextTier(
        tier=higher.name,
        daily_limit=higher.daily_limit,
        needed=needed,
        reached=reached,
        eligible=eligible,
        text=text,
    )
