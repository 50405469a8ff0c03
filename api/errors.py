"""Errors as RFC 9457 problem details: what is wrong, which field, what to do."""

import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ValidationError
from sqlalchemy.exc import DataError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from temporalio.service import RPCError, RPCStatusCode

from pytake.storage.engine import UNAVAILABLE
from pytake.temporal import is_unavailable, never_connected

_log = structlog.get_logger()

PROBLEM_JSON = "application/problem+json"
_TYPES = "urn:pytake:problem:"


class FieldProblem(BaseModel):
    """One wrong field of a request."""

    field: str
    message: str


class ProblemDetails(BaseModel):
    """RFC 9457; ``errors`` lists the wrong fields of a request."""

    type: str
    title: str
    status: int
    detail: str
    instance: str | None = None
    errors: list[FieldProblem] | None = None
    code: int | None = None


class ApiError(Exception):
    """Base of the errors that the API answers; the subclass carries the status."""

    status = HTTPStatus.INTERNAL_SERVER_ERROR
    slug = "internal"
    title = "Internal error"

    def __init__(
        self,
        detail: str,
        *,
        errors: Sequence[FieldProblem] = (),
        code: int | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = list(errors)
        self.code = code
        self.headers = headers

    def problem(self, instance: str | None = None) -> ProblemDetails:
        """The body of the answer."""
        return ProblemDetails(
            type=_TYPES + self.slug,
            title=self.title,
            status=self.status,
            detail=self.detail,
            instance=instance,
            errors=self.errors or None,
            code=self.code,
        )


class InvalidRequestError(ApiError):
    """The request is not valid."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY
    slug = "invalid-request"
    title = "The request is not valid"

    @classmethod
    def of(cls, field: str, message: str, code: int | None = None) -> "InvalidRequestError":
        """One wrong field."""
        problem = FieldProblem(field=field, message=message)
        return cls(f"{field}: {message}", errors=[problem], code=code)

    @classmethod
    def from_pydantic(
        cls, items: Sequence[Any], prefix: tuple[str | int, ...] = ()
    ) -> "InvalidRequestError":
        """Pydantic's errors, with the path of each field."""
        problems = [
            FieldProblem(
                field=_path((*prefix, *item["loc"])),
                message=item["msg"].removeprefix("Value error, "),
            )
            for item in items
        ]
        detail = "; ".join(f"{p.field}: {p.message}" for p in problems[:5])
        return cls(detail[:1000], errors=problems)


class UnreadableBodyError(ApiError):
    """The body is not JSON, or nested too deeply."""

    status = HTTPStatus.BAD_REQUEST
    slug = "unreadable-body"
    title = "The body cannot be read"


class UnauthorizedError(ApiError):
    """No valid API key."""

    status = HTTPStatus.UNAUTHORIZED
    slug = "unauthorized"
    title = "An API key is required"


class ForbiddenError(ApiError):
    """The key may not do this."""

    status = HTTPStatus.FORBIDDEN
    slug = "forbidden"
    title = "Not allowed"


class NotFoundError(ApiError):
    """There is no such thing, or it is another tenant's."""

    status = HTTPStatus.NOT_FOUND
    slug = "not-found"
    title = "Not found"


class ConflictError(ApiError):
    """It is too late, or too early, for this."""

    status = HTTPStatus.CONFLICT
    slug = "conflict"
    title = "Not possible in this state"


class TooLargeError(ApiError):
    """The body is too large."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    slug = "too-large"
    title = "The body is too large"


class UnavailableError(ApiError):
    """A part that PyTake depends on is away; nothing was done."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    slug = "unavailable"
    title = "Temporarily unavailable"


class _HttpError(ApiError):
    slug = "http"

    def __init__(self, status: int, detail: str, headers: dict[str, str] | None) -> None:
        super().__init__(detail, headers=headers)
        self.status = HTTPStatus(status)
        self.title = self.status.phrase


class TooManyRequestsError(ApiError):
    """The key makes more requests than it may."""

    status = HTTPStatus.TOO_MANY_REQUESTS
    slug = "too-many-requests"
    title = "Too many requests"


def _problem_schema() -> dict[str, Any]:
    """The schema of a problem, complete in itself: OpenAPI has no ``$defs`` to refer to."""
    schema = ProblemDetails.model_json_schema()
    definitions = schema.pop("$defs")
    schema["properties"]["errors"]["anyOf"][0]["items"] = definitions["FieldProblem"]
    return schema


def documented(*errors: type[ApiError]) -> dict[int | str, dict[str, Any]]:
    """The ``responses`` of a route, for OpenAPI; where a key is asked for, its rate is limited, and it
    may be one that must not do this.
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

    @app.exception_handler(ApiError)
    async def api_error(request: Request, error: ApiError) -> JSONResponse:
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
        ):  # FastAPI's word for bytes that are no UTF-8
            return _answer(request, InvalidRequestError("the body is not valid JSON in UTF-8"))
        headers = dict(error.headers) if error.headers else None
        return _answer(request, _HttpError(error.status_code, str(error.detail), headers))

    @app.exception_handler(ClientDisconnect)
    async def gone(request: Request, error: ClientDisconnect) -> JSONResponse:
        """Whoever asked has gone: there is nobody to answer, and nothing to report."""
        return _answer(request, InvalidRequestError("the body broke off"))

    @app.exception_handler(RPCError)
    async def temporal_error(request: Request, error: RPCError) -> JSONResponse:
        if is_unavailable(error) or error.status is RPCStatusCode.NOT_FOUND:
            _log.warning("temporal unavailable", error=error.message)
            return _answer(request, _temporal_away())
        _log.error("temporal refused", error=error.message)
        return _answer(request, ApiError("Temporal refused the request: see the API's log"))

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
        return _answer(request, ApiError("something went wrong on our side: see the API's log"))


def _temporal_away() -> UnavailableError:
    return UnavailableError(
        "Temporal could not be reached: try again", headers={"Retry-After": "2"}
    )


def database_unavailable(error: Exception) -> UnavailableError:
    """What is answered while the database cannot be reached, and logged once here."""
    _log.warning("database unavailable", error=type(error).__name__)
    return UnavailableError(
        "the database could not be reached: try again", headers={"Retry-After": "2"}
    )


def problem_response(path: str, error: ApiError) -> JSONResponse:
    """An error as it is answered."""
    body = error.problem(path).model_dump(exclude_none=True)
    return JSONResponse(body, error.status, headers=error.headers, media_type=PROBLEM_JSON)


def _answer(request: Request, error: ApiError) -> JSONResponse:
    return problem_response(request.url.path, error)


def _path(location: tuple[str | int, ...]) -> str:
    """``content.buttons[0].title`` from pydantic's location."""
    path = ""
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        elif path and re.fullmatch(r"[A-Z][A-Za-z]+", part):
            continue  # the tag of a union, such as a trigger's type
        elif re.fullmatch(r"[\w.\-]+", part) or not path:
            path += f".{part}" if path else part
    return path or "body"
