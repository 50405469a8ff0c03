"""Errors as RFC 9457 problem details: what is wrong, which field, what to do.

Use cases raise these; the API returns them unchanged.
"""

import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel

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


class ProblemError(Exception):
    """Base of the errors that the API returns; the subclass has the HTTP status."""

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
        """The response body."""
        return ProblemDetails(
            type=_TYPES + self.slug,
            title=self.title,
            status=self.status,
            detail=self.detail,
            instance=instance,
            errors=self.errors or None,
            code=self.code,
        )


class InvalidRequestError(ProblemError):
    """The request is not valid."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY
    slug = "invalid-request"
    title = "The request is not valid"

    @classmethod
    def of(cls, field: str, message: str, code: int | None = None) -> "InvalidRequestError":
        """An error about one field."""
        problem = FieldProblem(field=field, message=message)
        return cls(f"{field}: {message}", errors=[problem], code=code)

    @classmethod
    def from_pydantic(
        cls, items: Sequence[Any], prefix: tuple[str | int, ...] = ()
    ) -> "InvalidRequestError":
        """An error with pydantic's errors, each with the path of its field."""
        problems = [
            FieldProblem(
                field=_path((*prefix, *item["loc"])),
                message=item["msg"].removeprefix("Value error, "),
            )
            for item in items
        ]
        detail = "; ".join(f"{p.field}: {p.message}" for p in problems[:5])
        return cls(detail[:1000], errors=problems)


class UnreadableBodyError(ProblemError):
    """The body is not JSON, or nested too deeply."""

    status = HTTPStatus.BAD_REQUEST
    slug = "unreadable-body"
    title = "The body cannot be read"


class UnauthorizedError(ProblemError):
    """No valid API key."""

    status = HTTPStatus.UNAUTHORIZED
    slug = "unauthorized"
    title = "An API key is required"


class ForbiddenError(ProblemError):
    """The key may not do this."""

    status = HTTPStatus.FORBIDDEN
    slug = "forbidden"
    title = "Not allowed"


class NotFoundError(ProblemError):
    """It does not exist, or belongs to another tenant."""

    status = HTTPStatus.NOT_FOUND
    slug = "not-found"
    title = "Not found"


class ConflictError(ProblemError):
    """The request is not possible in the current state."""

    status = HTTPStatus.CONFLICT
    slug = "conflict"
    title = "Not possible in this state"


class TooLargeError(ProblemError):
    """The body is too large."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    slug = "too-large"
    title = "The body is too large"


class UnavailableError(ProblemError):
    """A service that PyTake depends on is down; nothing was done."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    slug = "unavailable"
    title = "Temporarily unavailable"


class TooManyRequestsError(ProblemError):
    """The key exceeds its rate limit."""

    status = HTTPStatus.TOO_MANY_REQUESTS
    slug = "too-many-requests"
    title = "Too many requests"


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
