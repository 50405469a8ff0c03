"""Shared by the metrics endpoints: choice of number, rates, risk factors, alerts."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any, Final

from sqlmodel import Session

from api.insights.schemas import Factor, OwnCounts, Rates
from api.numbers.schemas import AlertItem
from pytake.access.principals import Principal
from pytake.database.engine import UNAVAILABLE, Database
from pytake.insights import counts as figures
from pytake.insights import store as snapshots
from pytake.insights.counts import Counts, Scope
from pytake.numbers import owners as number_owners
from pytake.numbers import store as numbers
from pytake.numbers.tables import Alert, PhoneNumber
from pytake.problems import NotFoundError, UnavailableError
from pytake.settings import WhatsAppSettings
from pytake.texts import Language, say
from pytake.whatsapp.errors import hold_rule, rule_for
from pytake.whatsapp.errors_pt import advice_in

WEEK: Final = timedelta(days=7)
BLOCK_CODES: Final = (131048, 131049, 131050, 368, 130403)
"""Codes that mean that recipients (or Meta on their behalf) do not want the messages."""
_FAILURE_SHARE: Final = 0.05
_READ_DROP: Final = 0.2
_FEW: Final = 20
"""With fewer messages than this, a rate means nothing."""
_OPT_OUTS_PER_THOUSAND: Final = 5.0
_TEMPLATES: Final = 250
"""The most templates of a shared account whose problems a tenant is shown."""
_BAD_TEMPLATES: Final = ("PAUSED", "DISABLED", "REJECTED", "FLAGGED")


async def pick_number(
    database: Database,
    settings: WhatsAppSettings,
    principal: Principal,
    phone_number_id: str | None,
) -> PhoneNumber:
    """The number a request is about: the named one, else the configured one.

    Raises:
        NotFoundError: there is no such number that the principal may see.
    """
    rows = await database.read(numbers.visible, principal.scope)
    if phone_number_id is None:
        found = main_number(rows, principal.scope, settings.phone_number_id)
    else:
        found = next((row for row in rows if row.id == phone_number_id), None)
    if found is None:
        wanted = f"number {phone_number_id[:64]!r}" if phone_number_id else "number of this tenant"
        raise NotFoundError(f"no {wanted}")
    return found


def main_number(
    rows: Sequence[PhoneNumber], tenant_id: str | None, configured: str
) -> PhoneNumber | None:
    """The number that a tenant (``None``: an admin) is shown first: its own before shared ones, the
    configured one before others.
    """

    def rank(row: PhoneNumber) -> tuple[bool, bool, str]:
        return tenant_id not in (None, row.tenant_id), row.id != configured, row.id

    return min(rows, key=rank, default=None)


def scope_of(principal: Principal, number: PhoneNumber | None) -> Scope:
    """Whose messages are counted."""
    return Scope(principal.scope, number.id if number else None)


def owns(session: Session, scope: Scope, number: PhoneNumber) -> bool:
    """Whether Meta's counts of the number are the tenant's own: those of a shared number mix tenants."""
    return scope.tenant_id is None or number_owners.is_only_tenant(
        session, scope.tenant_id, PhoneNumber.id, number.id
    )


def owns_account(session: Session, scope: Scope, number: PhoneNumber) -> bool:
    """Whether Meta's data of the number's whole account, such as its templates, is the tenant's own."""
    return scope.tenant_id is None or number_owners.is_only_tenant(
        session, scope.tenant_id, PhoneNumber.portfolio_id, number.portfolio_id
    )


def since_owned(scope: Scope, number: PhoneNumber, day: date) -> bool:
    """Whether the tenant already owned the number on a day (UTC) and may see Meta's data of it."""
    moved = number.owned_since
    return scope.tenant_id is None or moved is None or day > moved.date()


def own(counts: Counts) -> OwnCounts:
    """The counts as a response body."""
    return OwnCounts(
        sent=counts.sent,
        delivered=counts.delivered,
        read=counts.read,
        failed=counts.failed,
        received=counts.received,
    )


def rates(counts: Counts) -> Rates:
    """Delivered of sent, read of delivered, failed of all that were tried."""
    return Rates(
        delivery=_share(counts.delivered, counts.sent),
        read=_share(counts.read, counts.delivered),
        failure=_share(counts.failed, counts.tried),
    )


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


def risk_factors(
    session: Session, number: PhoneNumber, scope: Scope, at: datetime, language: Language
) -> list[Factor]:
    """Risks to the number's quality in the data of the last seven days."""
    week = figures.total(session, scope, at - WEEK, at)
    before = figures.total(session, scope, at - 2 * WEEK, at - WEEK)
    failed = figures.failures(session, scope, at - WEEK, at)
    factors: list[Factor] = []

    def found(kind: str, severity: str, advice: dict[str, object], **values: object) -> None:
        factors.append(
            Factor.model_validate(
                {
                    "kind": kind,
                    "severity": severity,
                    "title": say(f"risk.{kind}", language, **values),
                    "advice": say(f"risk.{kind}.advice", language, **advice),
                }
            )
        )

    share = rates(week).failure or 0.0
    if week.failed and share >= _FAILURE_SHARE:
        code, title, _ = failed[0]
        rule = rule_for(code if code is not None else -1)
        found(
            "failures",
            "critical" if share >= 4 * _FAILURE_SHARE else "warning",
            {"code": code, "title": title, "advice": advice_in(rule, language)},
            count=week.failed,
            total=week.tried,
            rate=share,
        )
    blocked = [(code, count) for code, _, count in failed if code in BLOCK_CODES]
    if blocked:
        codes = ", ".join(str(code) for code, _ in blocked)
        found("blocks", "critical", {}, count=sum(count for _, count in blocked), codes=codes)
    left = figures.opt_outs(session, scope.tenant_id or number.tenant_id, at - WEEK)
    if left:
        per_thousand = 1000 * left / week.delivered if week.delivered else 1000.0
        severity = "warning" if per_thousand >= _OPT_OUTS_PER_THOUSAND else "info"
        found("opt_outs", severity, {}, count=left, per_thousand=per_thousand)
    reading, earlier = rates(week).read, rates(before).read
    enough = week.delivered >= _FEW and before.delivered >= _FEW
    if enough and reading is not None and earlier and reading <= earlier * (1 - _READ_DROP):
        found("read_rate", "warning", {}, rate=reading, before=earlier)
    if scope.tenant_id not in (None, number.tenant_id):
        return factors
    used = None
    if not owns_account(session, scope, number):
        used = {name for name, _ in figures.by_template(session, scope, at - WEEK, at, _TEMPLATES)}
    for template in snapshots.templates_of(session, number.portfolio_id):
        if used is not None and template.name not in used:
            continue
        named = {"name": template.name, "language": template.language}
        if template.status in _BAD_TEMPLATES:
            found("template", "warning", {}, status=template.status, **named)
        elif template.quality in ("YELLOW", "RED", "LOW", "MEDIUM"):
            found("template_quality", "warning", {}, quality=template.quality, **named)
    return factors


def alert_item(alert: Alert, language: Language) -> AlertItem:
    """A stored alert in the caller's language."""
    if alert.kind == "number_held":
        rule = hold_rule(alert.code or 0)
        title = say("number_held", language, value=alert.title)
        advice = advice_in(rule, language)
    else:
        title = say(alert.kind, language, value=alert.detail)
        advice = say(f"{alert.kind}.advice", language, value=alert.detail)
    return AlertItem.model_validate(
        {
            "kind": alert.kind,
            "severity": alert.severity,
            "phone_number_id": alert.phone_number_id,
            "title": title,
            "advice": advice,
            "since": alert.since,
        }
    )


async def read_or_503(database: Database, call: Any, *args: Any) -> Any:
    """Read from the database.

    Raises:
        UnavailableError: the database is down.
    """
    try:
        return await database.read(call, *args)
    except UNAVAILABLE as error:
        raise UnavailableError("the database could not be read: try again") from error
