"""Putting messages into the queue, one or many."""

import asyncio
from http import HTTPStatus
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header
from fastapi.responses import JSONResponse
from pydantic import StringConstraints, ValidationError
from temporalio.service import RPCError

from api.dependencies import AcceptorDep, AuthenticatorDep, PrincipalDep
from api.errors import documented
from api.messages.schemas import Accepted, BatchBody, BatchItem, BatchResult, SendBody
from pytake.access.principals import Principal
from pytake.database.engine import UNAVAILABLE
from pytake.messages.accept import Acceptor, NewMessage, fingerprint
from pytake.problems import (
    ForbiddenError,
    InvalidRequestError,
    ProblemError,
    TooLargeError,
    UnauthorizedError,
    UnavailableError,
)

router = APIRouter(prefix="/api/v1/queue", tags=["queue"])

_CONCURRENT_STARTS: Final = 4
_MESSAGES_OF_A_REQUEST: Final = 10
"""How many messages of a batch count as one request of the key's rate."""

IdempotencyKey = Annotated[
    Annotated[str, StringConstraints(min_length=1, max_length=255)] | None,
    Header(description="Repeating the same key with the same body does not queue a second message"),
]


@router.post(
    "/send",
    response_model=Accepted,
    status_code=HTTPStatus.ACCEPTED,
    responses=documented(
        UnauthorizedError, ForbiddenError, TooLargeError, InvalidRequestError, UnavailableError
    ),
)
async def send(
    body: SendBody,
    acceptor: AcceptorDep,
    principal: PrincipalDep,
    idempotency_key: IdempotencyKey = None,
) -> JSONResponse:
    """Queue a message. 202: it is durable, and ends as sent, dead letter or cancelled."""
    wanted = _new_message(body, principal, idempotency_key)
    message_id, status = await acceptor.accept(wanted, principal)
    accepted = Accepted.model_validate({"message_id": message_id, "status": status})
    # Serialised here: FastAPI would validate and serialise it once more.
    return JSONResponse(
        accepted.model_dump(mode="json"),
        HTTPStatus.ACCEPTED,
        {"Location": f"/api/v1/queue/message/{message_id}"},
    )


@router.post(
    "/send/batch",
    status_code=HTTPStatus.ACCEPTED,
    responses=documented(UnauthorizedError, TooLargeError, InvalidRequestError, UnavailableError),
)
async def send_batch(
    body: BatchBody, acceptor: AcceptorDep, authenticator: AuthenticatorDep, principal: PrincipalDep
) -> BatchResult:
    """Queue up to 500 messages; an invalid item does not affect the others."""
    authenticator.charge(principal, max(1, len(body.messages) / _MESSAGES_OF_A_REQUEST))
    slots = asyncio.Semaphore(_CONCURRENT_STARTS)

    async def one(index: int, item: Any) -> BatchItem:
        async with slots:
            return await _batch_item(acceptor, principal, index, item)

    results = await asyncio.gather(*(one(i, item) for i, item in enumerate(body.messages)))
    accepted = sum(result.success for result in results)
    return BatchResult(accepted=accepted, rejected=len(results) - accepted, results=results)


async def _batch_item(acceptor: Acceptor, principal: Principal, index: int, item: Any) -> BatchItem:
    try:
        wanted = _new_message(SendBody.model_validate(item), principal)
        message_id, status = await acceptor.accept(wanted, principal)
    except ValidationError as error:
        problem: ProblemError = InvalidRequestError.from_pydantic(error.errors())
    except ProblemError as error:
        problem = error
    except (RPCError, *UNAVAILABLE) as error:
        service = "Temporal" if isinstance(error, RPCError) else "the database"
        problem = UnavailableError(f"{service} could not be reached: send this item again")
    else:
        return BatchItem.model_validate(
            {"index": index, "success": True, "message_id": message_id, "status": status}
        )
    details = problem.problem().model_dump(exclude_none=True)
    return BatchItem(index=index, success=False, error=details)


def _new_message(
    body: SendBody, principal: Principal, idempotency_key: str | None = None
) -> NewMessage:
    """What a body asks for.

    Raises:
        ForbiddenError: it names a tenant other than the key's.
    """
    said = {name: getattr(body, name) for name in SendBody.model_fields}
    return NewMessage(
        **said | {"tenant_id": principal.acting_for(body.tenant_id)},
        idempotency_key=idempotency_key,
        fingerprint=fingerprint(body.model_dump(mode="json")) if idempotency_key else "",
    )
