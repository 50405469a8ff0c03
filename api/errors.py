"""Failures as RFC 9457 problem details, never a stack trace."""

from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from sqlalchemy.exc import DataError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from temporalio.service import RPCError, RPCStatusCode

from pytake.database.engine import UNAVAILABLE
from pytake.problems import (
    PROBLEM_JSON,
    ForbiddenError,
    InvalidRequestError,
    ProblemDetails,
    ProblemError,
    TooManyRequestsError,
    UnauthorizedError,
    UnavailableError,
)
from pytake.temporal.client import is_unavailable, never_connected

_log = structlog.get_logger()


class _HttpError(ProblemError):
    slug = "http"

    def __init__(self, status: int, detail: str, headers: dict[str, str] | None) -> None:
        super().__init__(detail, headers=headers)
        self.status = HTTPStatus(status)
        self.title = self.status.phrase


def _problem_schema() -> dict[str, Any]:
    """The schema of a problem, self-contained: OpenAPI has no ``$defs`` to refer to."""
    schema = ProblemDetails.model_json_schema()
    definitions = schema.pop("$defs")
    schema["properties"]["errors"]["anyOf"][0]["items"] = definitions["FieldProblem"]
    return schema


def documented(*errors: type[ProblemError]) -> dict[int | str, dict[str, Any]]:
    """The ``responses`` of a route, for OpenAPI; with :class:`UnauthorizedError` also those of rate
    limits and missing rights.
    """
    if UnauthorizedError in errors:
        errors = (*errors, ForbiddenError, TooManyRequestsError)
    return {
        int(error.status): {
            "description": error.title,
            "content": {PROBLEM_JSON: {"schema": _problem_schema()}},
        }
        for error in errors
    }


def install_error_handlers(app: FastAPI) -> None:
    """Answer every failure as problem details, never with a stack trace."""

    @app.exception_handler(ProblemError)
    async def api_error(request: Request, error: ProblemError) -> JSONResponse:
        return _answer(request, error)

    @app.exception_handler(RequestValidationError)
    async def request_invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        items = error.errors()
        if any(item["type"] == "json_invalid" for item in items):
            return _answer(request, InvalidRequestError("the body is not valid JSON"))
        cleaned = [
            {**i, "loc": i["loc"][1:] if i["loc"][:1] == ("body",) else i["loc"]} for i in items
        ]
        return _answer(request, InvalidRequestError.from_pydantic(cleaned))

    @app.exception_handler(ValidationError)
    async def invalid(request: Request, error: ValidationError) -> JSONResponse:
        return _answer(request, InvalidRequestError.from_pydantic(error.errors()))

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> JSONResponse:
        if (
            error.status_code == HTTPStatus.BAD_REQUEST
        ):  # FastAPI's error for a body that is not UTF-8
            return _answer(request, InvalidRequestError("the body is not valid JSON in UTF-8"))
        headers = dict(error.headers) if error.headers else None
        return _answer(request, _HttpError(error.status_code, str(error.detail), headers))

    @app.exception_handler(ClientDisconnect)
    async def gone(request: Request, error: ClientDisconnect) -> JSONResponse:
        """The client has disconnected: nobody reads the response, and there is nothing to report."""
        return _answer(request, InvalidRequestError("the body is incomplete"))

    @app.exception_handler(RPCError)
    async def temporal_error(request: Request, error: RPCError) -> JSONResponse:
        if is_unavailable(error) or error.status is RPCStatusCode.NOT_FOUND:
            _log.warning("temporal unavailable", error=error.message)
            return _answer(request, _temporal_away())
        _log.error("temporal refused", error=error.message)
        return _answer(request, ProblemError("Temporal refused the request: see the API's log"))

    @app.exception_handler(RuntimeError)
    async def runtime_error(request: Request, error: RuntimeError) -> JSONResponse:
        if never_connected(error):
            _log.warning("temporal unavailable", error="never connected")
            return _answer(request, _temporal_away())
        return await unexpected(request, error)

    @app.exception_handler(DataError)
    async def not_storable(request: Request, error: DataError) -> JSONResponse:
        return _answer(
            request, InvalidRequestError("a text holds a character that cannot be stored")
        )

    for kind in UNAVAILABLE:

        @app.exception_handler(kind)
        async def database_error(request: Request, error: Exception) -> JSONResponse:
            return _answer(request, database_unavailable(error))

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> JSONResponse:
        _log.error("unexpected error", path=request.url.path, exc_info=error)
        return _answer(request, ProblemError("something went wrong on our side: see the API's log"))


def _temporal_away() -> UnavailableError:
    return UnavailableError(
        "Temporal could not be reached: try again", headers={"Retry-After": "2"}
    )


def database_unavailable(error: Exception) -> UnavailableError:
    """The response while the database is down; logs the error."""
    _log.warning("database unavailable", error=type(error).__name__)
    return UnavailableError(
        "the database could not be reached: try again", headers={"Retry-After": "2"}
    )


def problem_response(path: str, error: ProblemError) -> JSONResponse:
    """The response for an error."""
    body = error.problem(path).model_dump(exclude_none=True)
    return JSONResponse(body, error.status, headers=error.headers, media_type=PROBLEM_JSON)


def _answer(request: Request, error: ProblemError) -> JSONResponse:
    return problem_response(request.url.path, error)
