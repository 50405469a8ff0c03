"""The sandbox's HTTP API: Meta's endpoints, and the control API under ``/sandbox``."""

import asyncio
import json
import secrets
import socket
import struct
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Header, HTTPException, Request, Response, UploadFile
from fastapi.exception_handlers import (
    http_exception_handler,
    request_validation_exception_handler,
)
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi_swagger import patch_fastapi
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException as StarletteHTTPException

from pytake.contacts.identities import contact_key
from pytake.sandbox import contacts
from pytake.sandbox.analytics import account_fields, account_node, template_points
from pytake.sandbox.callbacks import CallbackSender
from pytake.sandbox.faults import Fault, FaultKind, Faults
from pytake.sandbox.graph import choose, page, read_fields
from pytake.sandbox.numbers import business_profile, known_numbers, number_node
from pytake.sandbox.state import SandboxState, new_wamid
from pytake.sandbox.templates import node_id, template, template_node
from pytake.sandbox.validation import (
    GraphError,
    UnknownObjectError,
    UnknownPathError,
    check_message,
)

TRANSPORT = "pytake.transport"
"""ASGI scope extension with a request's connection, set by ``server``."""
ARRIVED = "pytake.arrived"
"""ASGI scope extension with the request's arrival time in Unix seconds, set by ``server``."""


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


def create_sandbox(
    state: SandboxState, callbacks: CallbackSender, seed: int | None = None
) -> FastAPI:
    """The sandbox as an ASGI application."""
    faults = Faults(seed)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        callbacks.resume_outstanding()
        task = asyncio.create_task(callbacks.run())
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    app = FastAPI(
        title="PyTake sandbox",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        swagger_ui_oauth2_redirect_url=None,
    )
    patch_fastapi(app, docs_url="/sandbox/docs")

    @app.exception_handler(GraphError)
    async def graph_error(_request: Request, error: GraphError) -> JSONResponse:
        state.rejected[error.code] += 1
        return JSONResponse(error.body(secrets.token_urlsafe(8)), error.http_status)

    @app.exception_handler(StarletteHTTPException)
    async def no_route(request: Request, error: StarletteHTTPException) -> Response:
        path = request.url.path
        if path.startswith("/sandbox/") or error.status_code not in (404, 405):
            return await http_exception_handler(request, error)
        parts = path.strip("/").split("/")
        if error.status_code == 405 and len(parts) > 1:
            return await graph_error(request, UnknownObjectError(request.method.lower(), parts[1]))
        return await graph_error(request, UnknownPathError("/" + "/".join(parts[2:])))

    @app.exception_handler(RequestValidationError)
    async def no_parameter(request: Request, error: RequestValidationError) -> Response:
        if request.url.path.startswith("/sandbox/"):
            return await request_validation_exception_handler(request, error)
        name = error.errors()[0]["loc"][-1]
        wrong = GraphError(100, "Invalid parameter", f"{name} is missing or not valid")
        return await graph_error(request, wrong)

    @app.get("/sandbox/messages", tags=["control"])
    async def list_messages() -> list[dict[str, Any]]:
        """The accepted messages, in order."""
        return [
            {k: v for k, v in asdict(m).items() if k not in ("failed_code", "unread")}
            for m in state.messages
        ]

    @app.get("/sandbox/stats", tags=["control"])
    async def stats() -> dict[str, Any]:
        """Accepted, rejected by code, peak per second by number, duplicates by our message id."""
        return state.stats()

    @app.get("/sandbox/reads", tags=["control"])
    async def list_reads() -> list[dict[str, Any]]:
        """Contacts' messages that were marked as read, in order."""
        return state.reads

    @app.get("/sandbox/templates", tags=["control"])
    async def list_templates() -> list[dict[str, Any]]:
        """The account's templates."""
        return list(state.templates.values())

    @app.put("/sandbox/templates/{name}", tags=["control"])
    async def put_template(name: str, request: TemplateRequest) -> dict[str, Any]:
        """Create or change a template of the account."""
        state.templates[name] = template(name, **request.model_dump(exclude_none=True))
        return state.templates[name]

    @app.patch("/sandbox/numbers/{phone_number_id}", tags=["control"])
    async def set_number(phone_number_id: str, request: NumberRequest) -> dict[str, Any]:
        """Set the fields of a phone number that Meta would report."""
        changes = request.model_dump(exclude_none=True)
        if "messaging_limit" in changes:
            changes["whatsapp_business_manager_messaging_limit"] = changes.pop("messaging_limit")
        state.numbers.setdefault(phone_number_id, {}).update(changes)
        return number_node(state, phone_number_id)

    @app.patch("/sandbox/management", tags=["control"])
    async def set_management(request: ManagementRequest) -> dict[str, float]:
        """Make management calls fail, or report another budget."""
        state.management.update(request.model_dump(exclude_none=True))
        return state.management

    @app.post("/sandbox/reset", tags=["control"])
    async def reset() -> dict[str, bool]:
        """Delete all messages, pending statuses and faults."""
        state.reset()
        callbacks.clear()
        faults.clear()
        return {"success": True}

    @app.get("/sandbox/faults", tags=["control"])
    async def list_faults() -> list[Fault]:
        """The active faults."""
        return faults.list()

    @app.post("/sandbox/faults", tags=["control"], status_code=201)
    async def add_fault(fault: Fault) -> Fault:
        """Switch a fault on."""
        faults.add(fault)
        return fault

    @app.delete("/sandbox/faults", tags=["control"])
    async def clear_faults() -> dict[str, bool]:
        """Switch every fault off; withheld statuses are sent."""
        faults.clear()
        callbacks.release_withheld()
        return {"success": True}

    @app.get("/sandbox/limits", tags=["control"])
    async def get_limits() -> dict[str, Any]:
        """What the sandbox enforces."""
        return asdict(state.limits)

    @app.patch("/sandbox/limits", tags=["control"])
    async def set_limits(request: LimitsRequest) -> dict[str, Any]:
        """Change what the sandbox enforces."""
        for name, value in request.model_dump(exclude_none=True).items():
            if name == "status_delays":
                value = {**state.limits.status_delays, **value}
            setattr(state.limits, name, value)
        return asdict(state.limits)

    @app.post("/sandbox/inbound", tags=["control"], status_code=202)
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

    @app.post("/{version}/{phone_number_id}/messages", tags=["cloud api"])
    async def post_message(
        version: str,
        phone_number_id: str,
        request: Request,
        authorization: Annotated[str, Header()] = "",
    ) -> JSONResponse:
        """Send a message, or mark one as read."""
        _authorize(authorization)
        try:
            body = await request.json()
        except ValueError:
            raise GraphError(100, "Invalid parameter", "the body is not JSON") from None
        if isinstance(body, dict) and body.get("status") == "read":
            if not body.get("message_id"):
                raise GraphError(131008, "Required parameter is missing", "message_id is required")
            read = {"wamid": body["message_id"], "phone_number_id": phone_number_id}
            state.reads.append({**read, "typing": "typing_indicator" in body})
            return JSONResponse({"success": True})
        arrived: float = request.scope["extensions"][ARRIVED]
        state.arrive(phone_number_id, arrived)
        recipient, kind = check_message(body, state.media)
        fault = faults.strike(recipient, statuses=False)
        if fault is not None and fault.kind is FaultKind.DROP_BEFORE:
            return _drop(request, reset=True)
        if fault is not None and fault.kind is FaultKind.ERROR:
            raise GraphError(
                fault.code or 0,
                "A fault of the sandbox",
                "switched on by a test",
                subcode=fault.subcode,
                is_transient=fault.is_transient,
            )
        if fault is not None and fault.kind is FaultKind.LATENCY:
            await asyncio.sleep(fault.seconds)
        state.admit(phone_number_id, recipient, kind != "template", arrived)
        late = faults.strike(recipient, statuses=True)
        failed = late.code if late is not None and late.kind is FaultKind.STATUS_FAILED else None
        unread = late is not None and late.kind is FaultKind.STATUS_UNREAD
        message = state.accept(phone_number_id, recipient, body, arrived, failed, unread=unread)
        callbacks.schedule(message, late, time.time())
        if fault is not None and fault.kind is FaultKind.DROP_AFTER:
            return _drop(request, reset=False)
        if fault is not None and fault.kind is FaultKind.HANG_AFTER:
            while not await request.is_disconnected():  # noqa: ASYNC110 - there is no event for it
                await asyncio.sleep(0.2)
        held = fault is not None and fault.kind is FaultKind.HELD
        message_status = "held_for_quality_assessment" if held else "accepted"
        return JSONResponse(
            {
                "messaging_product": "whatsapp",
                "contacts": [{"input": body.get("to", recipient), "wa_id": recipient}],
                "messages": [{"id": message.wamid, "message_status": message_status}],
            }
        )

    @app.post("/{version}/{phone_number_id}/media", tags=["cloud api"])
    async def upload_media(
        version: str,
        phone_number_id: str,
        file: UploadFile,
        authorization: Annotated[str, Header()] = "",
    ) -> dict[str, str]:
        """Upload a file; its id can be sent as media."""
        _authorize(authorization)
        content = await file.read()
        return {"id": state.media.add(content, file.content_type or "application/octet-stream")}

    @app.get("/media/{media_id}", tags=["cloud api"])
    async def download_media(
        media_id: str, authorization: Annotated[str, Header()] = ""
    ) -> Response:
        """The bytes of a file."""
        _authorize(authorization)
        description, content = state.media.get(media_id)
        return Response(content, media_type=description["mime_type"])

    @app.delete("/{version}/{media_id}", tags=["cloud api"])
    async def delete_media(
        version: str, media_id: str, authorization: Annotated[str, Header()] = ""
    ) -> dict[str, bool]:
        """Delete a file."""
        _authorize(authorization)
        state.media.remove(media_id)
        return {"success": True}

    @app.get("/{version}/{waba_id}/message_templates", tags=["cloud api"])
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
        authorization: Annotated[str, Header()] = "",
    ) -> dict[str, Any]:
        """The templates of an account."""
        _manage(state, authorization, waba_id, response)
        asked = {"name": name, "language": language, "category": category, "status": status}
        found = [
            choose(template_node(kept), fields)
            for kept in state.templates.values()
            if all(value in (None, kept[field]) for field, value in asked.items())
        ]
        return page(found, request.url, limit, after, before)

    @app.get("/{version}/{waba_id}/phone_numbers", tags=["cloud api"])
    async def get_phone_numbers(
        version: str,
        waba_id: str,
        request: Request,
        response: Response,
        fields: str = "",
        limit: int = 0,
        after: str = "",
        before: str = "",
        authorization: Annotated[str, Header()] = "",
    ) -> dict[str, Any]:
        """The phone numbers of an account."""
        _manage(state, authorization, waba_id, response)
        nodes = [choose(number_node(state, number), fields) for number in known_numbers(state)]
        return page(nodes, request.url, limit, after, before)

    @app.get("/{version}/{phone_number_id}/whatsapp_business_profile", tags=["cloud api"])
    async def get_business_profile(
        version: str,
        phone_number_id: str,
        fields: str = "",
        authorization: Annotated[str, Header()] = "",
    ) -> dict[str, Any]:
        """What WhatsApp shows of a number's business."""
        _authorize(authorization)
        profile = business_profile(state, phone_number_id)
        return {"data": [choose(profile, fields, always="messaging_product")]}

    @app.post("/{version}/{phone_number_id}/whatsapp_business_profile", tags=["cloud api"])
    async def set_business_profile(
        version: str,
        phone_number_id: str,
        profile: ProfileRequest,
        authorization: Annotated[str, Header()] = "",
    ) -> dict[str, bool]:
        """Change what WhatsApp shows of a number's business."""
        _authorize(authorization)
        changes = profile.model_dump(exclude_none=True, exclude={"messaging_product"})
        known = state.profiles.get(phone_number_id, {})
        state.profiles[phone_number_id] = {**known, **changes}
        return {"success": True}

    @app.get("/{version}/{waba_id}/template_analytics", tags=["cloud api"])
    async def get_template_analytics(
        version: str,
        waba_id: str,
        start: int,
        end: int,
        template_ids: str,
        response: Response,
        authorization: Annotated[str, Header()] = "",
    ) -> dict[str, Any]:
        """Counts of templates by day."""
        _manage(state, authorization, waba_id, response)
        try:
            ids = [str(item) for item in json.loads(template_ids)]
        except (ValueError, TypeError):
            raise GraphError(100, "Invalid parameter", "template_ids is not a list") from None
        return template_points(state, start, end, ids)

    @app.get("/{version}/{node}", tags=["cloud api"])
    async def get_node(
        version: str,
        node: str,
        request: Request,
        response: Response,
        fields: str = "",
        authorization: Annotated[str, Header()] = "",
    ) -> dict[str, Any]:
        """The fields of media, of a template, of a phone number or of an account."""
        if node in state.media or state.media.has_ended(node):
            _authorize(authorization)
            description, _ = state.media.get(node)
            return {**description, "url": f"{request.base_url}media/{node}"}
        _manage(state, authorization, node, response)
        for kept in state.templates.values():
            if node == node_id(kept["name"]):
                return choose(template_node(kept), fields)
        number, asked = number_node(state, node), {name for name, _ in read_fields(fields)}
        of_account = "analytics" in fields or (asked - {*number}) & {*account_fields(node)}
        if node == state.account or of_account:
            return account_node(state, node, fields)
        return choose(number, fields)

    return app


def _manage(state: SandboxState, header: str, account: str, response: Response) -> None:
    """Start a management call: check token and availability, and report the budget."""
    _authorize(header)
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


def _authorize(header: str) -> None:
    if not header.startswith("Bearer ") or not header.removeprefix("Bearer ").strip():
        raise GraphError(190, "Invalid OAuth access token", http_status=401)


def _drop(request: Request, *, reset: bool) -> JSONResponse:
    """Close the connection without a response; with ``reset``, as a kernel does for an unread request."""
    transport: asyncio.Transport = request.scope["extensions"][TRANSPORT]
    if reset:
        sock: socket.socket = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
    return JSONResponse({})
