"""Parts of Meta's callback that could not be stored: list them, and try them again."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from api.callback.dependencies import FollowUpDep
from api.dependencies import DatabaseDep, PrincipalDep, SettingsDep
from api.errors import documented
from api.paging import decode_cursor, encode_cursor
from pytake.access.principals import Principal
from pytake.callback import intake as callback_intake
from pytake.callback import set_aside
from pytake.callback.body import read_body
from pytake.callback.parse import parse
from pytake.clock import now
from pytake.database.engine import is_outage
from pytake.problems import (
    ConflictError,
    ForbiddenError,
    InvalidRequestError,
    NotFoundError,
    UnauthorizedError,
    UnavailableError,
)

router = APIRouter(prefix="/api/v1/whatsapp/set-aside", tags=["whatsapp"])

_COMMON = documented(UnauthorizedError, ForbiddenError, InvalidRequestError, UnavailableError)


class SetAsideView(BaseModel):
    """A part that could not be stored."""

    id: str
    tenant_id: str = Field(description="The number's tenant; * if the number has none")
    kind: str
    reason: str = Field(description="Type of the error")
    account_id: str | None
    phone_number_id: str | None
    body: str = Field(description="Meta's request with only this part; cut at 64 KB")
    size: int = Field(description="Bytes of the whole body")
    tries: int
    tried_at: datetime | None
    received_at: datetime


class SetAsidePage(BaseModel):
    """Newest first."""

    parts: list[SetAsideView]
    next_cursor: str | None = None


@router.get("", responses=_COMMON)
async def list_set_aside(
    database: DatabaseDep,
    principal: PrincipalDep,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
    cursor: Annotated[str | None, Query(max_length=4096)] = None,
) -> SetAsidePage:
    """Parts that could not be stored, as received. For admins."""
    _check(principal)
    before = decode_cursor(cursor) if cursor else None
    rows = await database.read(set_aside.page, limit + 1, before)
    page = rows[:limit]
    more = encode_cursor(page[-1].received_at, page[-1].id) if len(rows) > limit else None
    views = [SetAsideView.model_validate(row.model_dump()) for row in page]
    return SetAsidePage(parts=views, next_cursor=more)


@router.post(
    "/{part_id}/replay",
    status_code=204,
    responses=_COMMON | documented(NotFoundError, ConflictError),
)
async def replay(
    part_id: Annotated[str, Path(pattern=r"^[0-9a-f]{64}$")],
    database: DatabaseDep,
    follow_up: FollowUpDep,
    settings: SettingsDep,
    principal: PrincipalDep,
) -> None:
    """Try a part again, as if Meta sent it now; it is then no longer set aside. For admins."""
    _check(principal)
    row = await database.read(set_aside.get, part_id)
    if row is None:
        raise NotFoundError(f"no part {part_id!r} is set aside")
    if row.size > len(row.body):
        raise ConflictError(f"only {len(row.body)} of its {row.size} bytes were kept")
    try:
        callback = parse(read_body(row.body.encode()), now())
        stored = await database.write(callback_intake.replay, part_id, callback, settings)
    except Exception as error:
        if is_outage(error):
            raise UnavailableError("the database is down: try again") from error
        reason = callback_intake.reason_of(error)
        await database.write(set_aside.still_fails, part_id, reason, now())
        raise ConflictError(f"it still cannot be stored ({reason})") from error
    await follow_up.of(stored)


def _check(principal: Principal) -> None:
    if not principal.admin:
        raise ForbiddenError("parts of all tenants are behind this: use an admin's API key")
