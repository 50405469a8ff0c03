"""Nodes by their id, and the business profile of a number."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from pytake.sandbox.analytics import account_fields, account_node
from pytake.sandbox.graph import choose, read_fields
from pytake.sandbox.numbers import business_profile, number_node
from pytake.sandbox.routes.access import cloud_router, manage
from pytake.sandbox.state import SandboxState
from pytake.sandbox.templates import node_id, template_node


class ProfileRequest(BaseModel):
    """Fields of a business profile; those left out stay."""

    messaging_product: Literal["whatsapp"]
    about: Annotated[str, Field(min_length=1, max_length=139)] | None = None
    address: Annotated[str, Field(max_length=256)] | None = None
    description: Annotated[str, Field(max_length=512)] | None = None
    email: Annotated[str, Field(max_length=128)] | None = None
    vertical: Annotated[str, Field(max_length=40)] | None = None
    websites: Annotated[list[Annotated[str, Field(max_length=256)]], Field(max_length=2)] | None = (
        None
    )


def nodes_router(state: SandboxState) -> APIRouter:
    """Any node; its path takes what the others leave."""
    router = cloud_router()

    @router.get("/{version}/{phone_number_id}/whatsapp_business_profile")
    async def get_business_profile(
        version: str,
        phone_number_id: str,
        fields: str = "",
    ) -> dict[str, Any]:
        """What WhatsApp shows of a number's business."""
        profile = business_profile(state, phone_number_id)
        return {"data": [choose(profile, fields, always="messaging_product")]}

    @router.post("/{version}/{phone_number_id}/whatsapp_business_profile")
    async def set_business_profile(
        version: str,
        phone_number_id: str,
        profile: ProfileRequest,
    ) -> dict[str, bool]:
        """Change what WhatsApp shows of a number's business."""
        changes = profile.model_dump(exclude_none=True, exclude={"messaging_product"})
        known = state.profiles.get(phone_number_id, {})
        state.profiles[phone_number_id] = {**known, **changes}
        return {"success": True}

    @router.get("/{version}/{node}")
    async def get_node(
        version: str,
        node: str,
        request: Request,
        response: Response,
        fields: str = "",
    ) -> dict[str, Any]:
        """The fields of media, of a template, of a phone number or of an account."""
        if node in state.media or state.media.has_ended(node):
            description, _ = state.media.get(node)
            return {**description, "url": f"{request.base_url}media/{node}"}
        manage(state, node, response)
        for kept in state.templates.values():
            if node == node_id(kept["name"]):
                return choose(template_node(kept), fields)
        number, asked = number_node(state, node), {name for name, _ in read_fields(fields)}
        of_account = "analytics" in fields or (asked - {*number}) & {*account_fields(node)}
        if node == state.account or of_account:
            return account_node(state, node, fields)
        return choose(number, fields)

    return router
