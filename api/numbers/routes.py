"""Numbers: their rates, pausing and resuming them, and alerts."""

from typing import Annotated

from fastapi import APIRouter, Path
from sqlmodel import Session
from temporalio.client import Client
from temporalio.service import RPCError

from api.dependencies import ClientDep, DatabaseDep, PrincipalDep
from api.errors import documented
from api.fields import NumberQuery
from api.numbers.schemas import AlertView, NumberView
from pytake.access.principals import Principal
from pytake.clock import now
from pytake.database.engine import Database
from pytake.insights import store as snapshots
from pytake.insights.health import score
from pytake.insights.tables import NumberSnapshot
from pytake.numbers import alerts
from pytake.numbers import store as numbers
from pytake.numbers.follow import follow_number
from pytake.numbers.tables import PhoneNumber
from pytake.problems import InvalidRequestError, NotFoundError, UnauthorizedError, UnavailableError

router = APIRouter(prefix="/api/v1/whatsapp", tags=["whatsapp"])

_COMMON = documented(UnauthorizedError, UnavailableError)
_ONE = _COMMON | documented(NotFoundError)
_BAD = documented(InvalidRequestError)


@router.get("/numbers", responses=_COMMON | documented(InvalidRequestError))
async def list_numbers(
    database: DatabaseDep, principal: PrincipalDep, phone_number_id: NumberQuery = None
) -> list[NumberView]:
    """The numbers that may be sent from, with what Meta last said of them."""
    rows = await database.read(_numbers, principal.scope)
    return [_view(row, snapshot) for row, snapshot in rows if phone_number_id in (None, row.id)]


@router.post("/numbers/{phone_number_id}/pause", responses=_ONE)
async def pause(
    phone_number_id: str, database: DatabaseDep, client: ClientDep, principal: PrincipalDep
) -> NumberView:
    """Stop a number by hand: its messages wait in the queue until it is resumed."""
    await _check(database, principal, phone_number_id)
    row = await database.write(numbers.pause, phone_number_id, now(), "paused by hand")
    return await _follow(client, phone_number_id, row)


@router.post("/numbers/{phone_number_id}/resume", responses=_ONE)
async def resume(
    phone_number_id: str, database: DatabaseDep, client: ClientDep, principal: PrincipalDep
) -> NumberView:
    """Resume a number that is on hold or paused: its messages go out again, in priority order."""
    await _check(database, principal, phone_number_id)
    row = await database.write(numbers.resume, phone_number_id, now())
    return await _follow(client, phone_number_id, row)


@router.get("/alerts", responses=_COMMON)
async def list_alerts(database: DatabaseDep, principal: PrincipalDep) -> list[AlertView]:
    """What needs a person's attention now, newest first."""
    rows = await database.read(numbers.open_alerts, principal.scope)
    return [AlertView.model_validate(row.model_dump()) for row in rows]


@router.post("/alerts/{alert_id}/end", status_code=204, responses=_ONE | _BAD)
async def end_alert(
    alert_id: Annotated[int, Path(ge=1, lt=2**63)], database: DatabaseDep, principal: PrincipalDep
) -> None:
    """End an alert that was dealt with, such as a violation that Meta reported."""
    ended = await database.write(alerts.dismiss, alert_id, principal.scope, now())
    if not ended:
        raise NotFoundError(f"no alert {alert_id}")


async def _check(database: Database, principal: Principal, phone_number_id: str) -> None:
    """Only a number's owner may stop it, even where others may send from it."""
    rows = await database.read(numbers.visible, principal.scope)
    if not any(row.id == phone_number_id and principal.sees(row.tenant_id) for row in rows):
        raise NotFoundError(f"no number {phone_number_id[:64]!r}")


async def _follow(client: Client, phone_number_id: str, row: PhoneNumber | None) -> NumberView:
    if row is None:
        raise NotFoundError(f"no number {phone_number_id[:64]!r}")
    try:
        await follow_number(client, row)
    except RPCError as error:
        raise UnavailableError(
            f"the number is {row.state}, but Temporal could not be reached to apply it to the "
            "queue: repeat the call"
        ) from error
    return _view(row)


def _numbers(
    session: Session, tenant_id: str | None
) -> list[tuple[PhoneNumber, NumberSnapshot | None]]:
    rows = numbers.visible(session, tenant_id)
    return [(row, snapshots.get(session, row.id)) for row in rows]


def _view(row: PhoneNumber, snapshot: NumberSnapshot | None = None) -> NumberView:
    health = snapshot.health if snapshot else None
    shown = {"display_phone_number", "verified_name", "quality_rating", "status"}
    return NumberView.model_validate(
        {
            "phone_number_id": row.id,
            "state": row.state,
            "reason": row.reason,
            "reason_code": row.reason_code,
            "advice": row.advice,
            "since": row.state_since,
            "next_probe_at": row.next_probe_at,
            "messages_per_second": row.base_rate,
            "current_rate": row.effective_rate,
            "tier": row.effective_tier,
            **(health.model_dump(include=shown) if health else {}),
            "health_score": score(health)[0] if health else None,
            "health_fetched_at": snapshot.fetched_at if snapshot else None,
        }
    )
