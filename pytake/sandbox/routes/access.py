"""Who may call, and what a management call reports."""

import json

from fastapi import Response

from pytake.sandbox.state import SandboxState
from pytake.sandbox.validation import GraphError


def manage(state: SandboxState, header: str, account: str, response: Response) -> None:
    """Start a management call: check token and availability, and report the budget."""
    authorize(header)
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


def authorize(header: str) -> None:
    """Any token will do.

    Raises:
        GraphError: 190; there is none.
    """
    if not header.startswith("Bearer ") or not header.removeprefix("Bearer ").strip():
        raise GraphError(190, "Invalid OAuth access token", http_status=401)
