"""Sending a message, or marking one as read."""

import asyncio
import json
import socket
import struct
import time
from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from pytake.sandbox.callbacks import CallbackSender
from pytake.sandbox.faults import FaultKind, Faults
from pytake.sandbox.routes.access import cloud_router
from pytake.sandbox.state import SandboxState
from pytake.sandbox.validation import GraphError, check_message

TRANSPORT = "pytake.transport"
"""ASGI scope extension with a request's connection, set by ``server``."""
ARRIVED = "pytake.arrived"
"""ASGI scope extension with the request's arrival time in Unix seconds, set by ``server``."""

_LARGEST_BODY: Final = 1024 * 1024


def sending_router(state: SandboxState, callbacks: CallbackSender, faults: Faults) -> APIRouter:
    """The endpoint of messages."""
    router = cloud_router()

    @router.post("/{version}/{phone_number_id}/messages")
    async def post_message(
        version: str,
        phone_number_id: str,
        request: Request,
    ) -> JSONResponse:
        """Send a message, or mark one as read."""
        try:
            body = json.loads(await _read(request))
        except ValueError:
            raise GraphError(100, "Invalid parameter", "the body is not JSON") from None
        if isinstance(body, dict) and body.get("status") == "read":
            if not body.get("message_id"):
                raise GraphError(131008, "Required parameter is missing", "message_id is required")
            if not isinstance(body["message_id"], str) or len(body["message_id"]) > 512:
                raise GraphError(100, "Invalid parameter", "message_id is not a message's id")
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

    return router


async def _read(request: Request) -> bytes:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > _LARGEST_BODY:
            raise GraphError(100, "Invalid parameter", "the body is too large")
    return bytes(body)


def _drop(request: Request, *, reset: bool) -> JSONResponse:
    """Close the connection without a response; with ``reset``, as a kernel does for an unread request."""
    transport: asyncio.Transport = request.scope["extensions"][TRANSPORT]
    if reset:
        sock: socket.socket = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
    return JSONResponse({})
