"""Who may call, and what a management call reports."""

import json
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Response

from pytake.sandbox.state import SandboxState
from pytake.sandbox.validation import GraphError


async def authorize(authorization: Annotated[str, Header()] = "") -> None:
    """Any token will do.

    Raises:
        GraphError: 190; there is none.
    """
    if not authorization.startswith("Bearer ") or not authorization.removeprefix("Bearer ").strip():
        raise GraphError(190, "Invalid OAuth access token", http_status=401)


def cloud_router() -> APIRouter:
    """A router of the Cloud API, whose calls need a token."""
    return APIRouter(tags=["cloud api"], dependencies=[Depends(authorize)])


def manage(state: SandboxState, account: str, response: Response) -> None:
    """Start a management call: check availability, and report the budget."""
    if state.management.get("down"):
        raise GraphError(2, "Service temporarily unavailable", "switched on by a test", 503)
    if state.management.get("token_expired"):
        raise GraphError(190, "Access token has expired", http_status=401)
    used = {
        "type": "whatsapp",
        "call_count": state.management.get("call_count", 1),
        "total_cputime": 1,
        "total_time": 1,
        "estimated_time_to_regain_access": state.management.get("regain_minutes", 0),
    }
    response.headers["X-Business-Use-Case-Usage"] = json.dumps({account: [used]})
