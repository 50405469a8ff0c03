"""Updates from Meta other than delivery statuses and messages, or that could not be read."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from api.dependencies import DatabaseDep, PrincipalDep
from api.errors import documented
from api.paging import decode_cursor, encode_cursor
from pytake.callback import store as callbacks
from pytake.problems import InvalidRequestError, UnauthorizedError, UnavailableError

router = APIRouter(prefix="/api/v1/whatsapp", tags=["whatsapp"])


class UpdateView(BaseModel):
    """One stored update; ``problem`` says why it was set aside."""

    id: str
    tenant_id: str
    field: str
    problem: str | None
    payload: Any
    account_id: str | None = Field(
        default=None, description="The WhatsApp Business account that it is about"
    )
    sent_at: datetime | None = Field(
        default=None, description="When it happened, according to Meta"
    )
    received_at: datetime


class UpdatePage(BaseModel):
    """Newest first."""

    updates: list[UpdateView]
    next_cursor: str | None = None


@router.get(
    "/updates", responses=documented(UnauthorizedError, InvalidRequestError, UnavailableError)
)
async def list_updates(
    database: DatabaseDep,
    principal: PrincipalDep,
    problems: Annotated[bool, Query(description="Only those that could not be read")] = False,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
    cursor: Annotated[str | None, Query(max_length=4096)] = None,
) -> UpdatePage:
    """Everything the callback brought besides statuses and messages."""
    before = decode_cursor(cursor) if cursor else None
    rows = await database.read(callbacks.list_updates, principal.scope, problems, limit + 1, before)
    page = rows[:limit]
    more = encode_cursor(page[-1].received_at, page[-1].id) if len(rows) > limit else None
    views = [UpdateView.model_validate(row.model_dump()) for row in page]
    return UpdatePage(updates=views, next_cursor=more)
