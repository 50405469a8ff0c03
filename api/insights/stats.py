"""Live queue statistics over HTTP."""

from fastapi import APIRouter

from api.dependencies import ClientDep, DatabaseDep, PrincipalDep, SettingsDep
from api.errors import documented
from api.insights.queue import queue_stats
from api.insights.schemas import Stats
from pytake.problems import UnauthorizedError, UnavailableError

router = APIRouter(prefix="/api/v1/queue", tags=["queue"])


@router.get("/stats", responses=documented(UnauthorizedError, UnavailableError))
async def stats(
    database: DatabaseDep, client: ClientDep, settings: SettingsDep, principal: PrincipalDep
) -> Stats:
    """In flight from Temporal, finished from the database; a message is counted in one figure."""
    return await queue_stats(database, client, settings.whatsapp, principal)
