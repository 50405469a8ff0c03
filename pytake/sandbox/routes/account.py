"""What an account has: templates, phone numbers, and figures."""

import json
from typing import Any

from fastapi import APIRouter, Request, Response

from pytake.sandbox.analytics import template_points
from pytake.sandbox.graph import choose, page
from pytake.sandbox.numbers import known_numbers, number_node
from pytake.sandbox.routes.access import cloud_router, manage
from pytake.sandbox.state import SandboxState
from pytake.sandbox.templates import template_node
from pytake.sandbox.validation import GraphError


def account_router(state: SandboxState) -> APIRouter:
    """The edges of an account."""
    router = cloud_router()

    @router.get("/{version}/{waba_id}/message_templates")
    async def get_templates(
        version: str,
        waba_id: str,
        request: Request,
        response: Response,
        fields: str = "",
        name: str | None = None,
        language: str | None = None,
        category: str | None = None,
        status: str | None = None,
        limit: int = 0,
        after: str = "",
        before: str = "",
    ) -> dict[str, Any]:
        """The templates of an account."""
        manage(state, waba_id, response)
        asked = {"name": name, "language": language, "category": category, "status": status}
        found = [
            choose(template_node(kept), fields)
            for kept in state.templates.values()
            if all(value in (None, kept[field]) for field, value in asked.items())
        ]
        return page(found, request.url, limit, after, before)

    @router.get("/{version}/{waba_id}/phone_numbers")
    async def get_phone_numbers(
        version: str,
        waba_id: str,
        request: Request,
        response: Response,
        fields: str = "",
        limit: int = 0,
        after: str = "",
        before: str = "",
    ) -> dict[str, Any]:
        """The phone numbers of an account."""
        manage(state, waba_id, response)
        nodes = [choose(number_node(state, number), fields) for number in known_numbers(state)]
        return page(nodes, request.url, limit, after, before)

    @router.get("/{version}/{waba_id}/template_analytics")
    async def get_template_analytics(
        version: str,
        waba_id: str,
        start: int,
        end: int,
        template_ids: str,
        response: Response,
    ) -> dict[str, Any]:
        """Counts of templates by day."""
        manage(state, waba_id, response)
        try:
            ids = [str(item) for item in json.loads(template_ids)]
        except (ValueError, TypeError):
            raise GraphError(100, "Invalid parameter", "template_ids is not a list") from None
        return template_points(state, start, end, ids)

    return router
