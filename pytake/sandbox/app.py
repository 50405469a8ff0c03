"""The sandbox as an application: its routes, and Meta's answers to what goes wrong."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from fastapi import FastAPI, Request, Response
from fastapi.exception_handlers import (
    http_exception_handler,
    request_validation_exception_handler,
)
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi_swagger import patch_fastapi
from starlette.exceptions import HTTPException as StarletteHTTPException

from pytake.sandbox.callbacks import CallbackSender
from pytake.sandbox.faults import Faults
from pytake.sandbox.routes.account import account_router
from pytake.sandbox.routes.control import control_router
from pytake.sandbox.routes.media import media_router
from pytake.sandbox.routes.nodes import nodes_router
from pytake.sandbox.routes.sending import sending_router
from pytake.sandbox.state import SandboxState
from pytake.sandbox.validation import GraphError, UnknownObjectError, UnknownPathError


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

    app.include_router(control_router(state, callbacks, faults))
    app.include_router(sending_router(state, callbacks, faults))
    app.include_router(media_router(state))
    app.include_router(account_router(state))
    app.include_router(nodes_router(state))
    return app
