"""The control surface under ``/sandbox``."""

import time
from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel, ConfigDict, Field

from pytake.contacts.identities import contact_key
from pytake.sandbox import contacts
from pytake.sandbox.callbacks import CallbackSender
from pytake.sandbox.faults import Fault, Faults
from pytake.sandbox.numbers import number_node
from pytake.sandbox.state import SandboxState, new_wamid
from pytake.sandbox.templates import template


class InboundRequest(BaseModel):
    """A message of a contact: ``text``, or any ``message`` as Meta would send it."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    from_: str = Field(alias="from", min_length=1, examples=["5561994013828"])
    name: str = "Sandbox"
    text: str | None = None
    message: dict[str, Any] | None = None
    phone_number_id: str | None = None


class LimitsRequest(BaseModel):
    """What the sandbox enforces; fields left out stay as they are."""

    model_config = ConfigDict(extra="forbid")

    throughput: Annotated[float, Field(gt=0)] | None = None
    pair_limit: bool | None = None
    customer_service_window: bool | None = None
    status_delays: dict[str, Annotated[float, Field(ge=0)]] | None = None


class TemplateRequest(BaseModel):
    """A template of the account."""

    model_config = ConfigDict(extra="forbid")

    category: Literal["MARKETING", "UTILITY", "AUTHENTICATION"]
    language: str = "pt_BR"
    status: str = "APPROVED"
    quality_score: dict[str, Any] | None = None
    parameter_format: Literal["POSITIONAL", "NAMED"] = "POSITIONAL"
    components: list[dict[str, Any]] | None = None


class NumberRequest(BaseModel):
    """Fields of a phone number; fields left out stay as they are."""

    model_config = ConfigDict(extra="forbid")

    quality_rating: Literal["GREEN", "YELLOW", "RED", "UNKNOWN"] | None = None
    status: str | None = None
    name_status: str | None = None
    verified_name: str | None = None
    display_phone_number: str | None = None
    messaging_limit: str | None = None
    throughput: dict[str, str] | None = None
    health_status: dict[str, Any] | None = None


class ManagementRequest(BaseModel):
    """How management calls respond; fields left out stay as they are."""

    model_config = ConfigDict(extra="forbid")

    down: bool | None = None
    token_expired: bool | None = None
    call_count: Annotated[float, Field(ge=0, le=100)] | None = None
    regain_minutes: Annotated[float, Field(ge=0)] | None = None


def control_router(state: SandboxState, callbacks: CallbackSender, faults: Faults) -> APIRouter:
    """What tests and people may set, and see of what was accepted."""
    router = APIRouter(prefix="/sandbox", tags=["control"])

    @router.get("/messages")
    async def list_messages() -> list[dict[str, Any]]:
        """The accepted messages, in order."""
        return [
            {k: v for k, v in asdict(m).items() if k not in ("failed_code", "unread")}
            for m in state.messages
        ]

    @router.get("/stats")
    async def stats() -> dict[str, Any]:
        """Accepted, rejected by code, peak per second by number, duplicates by our message id."""
        return state.stats()

    @router.get("/reads")
    async def list_reads() -> list[dict[str, Any]]:
        """Contacts' messages that were marked as read, in order."""
        return list(state.reads)

    @router.get("/templates")
    async def list_templates() -> list[dict[str, Any]]:
        """The account's templates."""
        return list(state.templates.values())

    @router.put("/templates/{name}")
    async def put_template(name: str, request: TemplateRequest) -> dict[str, Any]:
        """Create or change a template of the account."""
        state.templates[name] = template(name, **request.model_dump(exclude_none=True))
        return state.templates[name]

    @router.patch("/numbers/{phone_number_id}")
    async def set_number(phone_number_id: str, request: NumberRequest) -> dict[str, Any]:
        """Set the fields of a phone number that Meta would report."""
        changes = request.model_dump(exclude_none=True)
        if "messaging_limit" in changes:
            changes["whatsapp_business_manager_messaging_limit"] = changes.pop("messaging_limit")
        state.numbers.setdefault(phone_number_id, {}).update(changes)
        return number_node(state, phone_number_id)

    @router.patch("/management")
    async def set_management(request: ManagementRequest) -> dict[str, float]:
        """Make management calls fail, or report another budget."""
        state.management.update(request.model_dump(exclude_none=True))
        return state.management

    @router.post("/reset")
    async def reset() -> dict[str, bool]:
        """Delete all messages, pending statuses and faults."""
        state.reset()
        callbacks.clear()
        faults.clear()
        return {"success": True}

    @router.get("/faults")
    async def list_faults() -> list[Fault]:
        """The active faults."""
        return faults.list()

    @router.post("/faults", status_code=201)
    async def add_fault(fault: Fault) -> Fault:
        """Switch a fault on."""
        try:
            faults.add(fault)
        except OverflowError as error:
            raise HTTPException(422, str(error)) from None
        return fault

    @router.delete("/faults")
    async def clear_faults() -> dict[str, bool]:
        """Switch every fault off; withheld statuses are sent."""
        faults.clear()
        callbacks.release_withheld()
        return {"success": True}

    @router.get("/limits")
    async def get_limits() -> dict[str, Any]:
        """What the sandbox enforces."""
        return asdict(state.limits)

    @router.patch("/limits")
    async def set_limits(request: LimitsRequest) -> dict[str, Any]:
        """Change what the sandbox enforces."""
        for name, value in request.model_dump(exclude_none=True).items():
            if name == "status_delays":
                value = {**state.limits.status_delays, **value}
            setattr(state.limits, name, value)
        return asdict(state.limits)

    @router.post("/inbound", status_code=202)
    async def inbound(request: InboundRequest) -> dict[str, str]:
        """Send a message as a contact: it becomes a signed webhook."""
        if (request.text is None) == (request.message is None):
            raise HTTPException(422, "give exactly one of text and message")
        number = request.phone_number_id or state.default_number
        address = request.from_.lstrip("+")
        message = dict(request.message or {"type": "text", "text": {"body": request.text}})
        own = {"id": new_wamid(), "timestamp": str(int(time.time()))}
        message = {**contacts.sender(address), **own, **message}
        if "type" not in message:
            raise HTTPException(422, "message needs a type")
        for key in (contact_key(address), contacts.user_id(address)):
            state.last_inbound[number, key] = time.time()
        state.names[contacts.user_id(address)] = request.name
        callbacks.push_inbound(number, message, contacts.contact(address, request.name))
        return {"wamid": message["id"]}

    return router
