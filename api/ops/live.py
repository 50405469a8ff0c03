"""Liveness and readiness of the process."""

import asyncio
from http import HTTPStatus

from fastapi import APIRouter, Response
from pydantic import BaseModel
from temporalio.client import Client
from temporalio.service import RPCError

from api.dependencies import ClientDep, DatabaseDep
from pytake.database.engine import UNAVAILABLE, Database

router = APIRouter(prefix="/health", tags=["health"])


class Live(BaseModel):
    """The process answers."""

    status: str = "live"


class Ready(BaseModel):
    """``ready``, or the parts that are not and why."""

    status: str
    failing: dict[str, str]


@router.get("/live")
async def live() -> Live:
    """200 as long as the process answers."""
    return Live()


@router.get("/ready", responses={503: {"model": Ready, "description": "A part is failing"}})
async def ready(response: Response, database: DatabaseDep, client: ClientDep) -> Ready:
    """200 if messages can be accepted; else 503 with the name of the failing part."""
    failures = await asyncio.gather(_database(database), _temporal(client))
    failing = {
        name: text for name, text in zip(("database", "temporal"), failures, strict=True) if text
    }
    if failing:
        response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
    return Ready(status="failing" if failing else "ready", failing=failing)


async def _database(database: Database) -> str | None:
    try:
        return await asyncio.to_thread(database.pending_migration)
    except UNAVAILABLE as error:
        return f"not reachable ({type(error).__name__})"


async def _temporal(client: Client) -> str | None:
    try:
        async with asyncio.timeout(3):
            healthy = await client.service_client.check_health()
    except (RPCError, RuntimeError, TimeoutError) as error:
        return f"not reachable ({type(error).__name__})"
    return None if healthy else "reports that it is not serving"
