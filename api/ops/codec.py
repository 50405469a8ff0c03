"""Temporal's remote codec: shows encrypted payloads in the Web UI and the `temporal` command."""

import base64
import binascii
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, EncodedBytes, EncoderProtocol, Field
from pydantic_core import PydanticCustomError
from temporalio.api.common.v1 import Payload as TemporalPayload

from api.dependencies import ClientDep, PrincipalDep
from api.errors import documented
from pytake.access.principals import Principal
from pytake.problems import (
    ForbiddenError,
    InvalidRequestError,
    NotFoundError,
    TooLargeError,
    UnauthorizedError,
)
from pytake.settings import ConfigurationError
from pytake.temporal.codec import EncryptionCodec

PREFIX = "/api/v1/codec"
_ERRORS = documented(
    UnauthorizedError, ForbiddenError, NotFoundError, TooLargeError, InvalidRequestError
)

router = APIRouter(prefix=PREFIX, tags=["codec"])


class _Base64(EncoderProtocol):
    """Base64 as in protobuf's JSON: the standard alphabet, without line breaks."""

    @classmethod
    def decode(cls, data: bytes) -> bytes:
        try:
            return base64.b64decode(data, validate=True)
        except binascii.Error as error:
            raise PydanticCustomError("base64", "must be Base64") from error

    @classmethod
    def encode(cls, value: bytes) -> bytes:
        return base64.b64encode(value)

    @classmethod
    def get_json_format(cls) -> Literal["base64"]:
        return "base64"


_Bytes = Annotated[bytes, EncodedBytes(encoder=_Base64)]


class Payload(BaseModel):
    """A payload in Temporal's JSON format: bytes in Base64."""

    metadata: dict[str, _Bytes] = Field(default_factory=dict)
    data: _Bytes = b""


class Payloads(BaseModel):
    """Payloads to change, or changed, in order."""

    payloads: list[Payload] = Field(max_length=10_000)


async def get_admin(principal: PrincipalDep) -> Principal:
    """An admin, with the key as bearer token or as the password of HTTP basic authentication."""
    if not principal.admin:
        raise ForbiddenError("payloads of all tenants are behind this: use an admin's API key")
    return principal


AdminDep = Annotated[Principal, Depends(get_admin)]


@router.get("", status_code=HTTPStatus.NO_CONTENT, responses=documented(UnauthorizedError))
async def sign_in(admin: AdminDep) -> Response:
    """Open this in a browser to enter the key (as the password), which the Web UI then uses."""
    return Response(status_code=HTTPStatus.NO_CONTENT)


@router.post("/decode", responses=_ERRORS)
async def decode(body: Payloads, client: ClientDep, admin: AdminDep) -> Payloads:
    """Decrypt payloads; unencrypted payloads are returned unchanged."""
    return await _changed(_codec(client.data_converter.payload_codec).decode, body)


@router.post("/encode", responses=_ERRORS)
async def encode(body: Payloads, client: ClientDep, admin: AdminDep) -> Payloads:
    """Encrypt payloads, for what is entered in the Web UI."""
    return await _changed(_codec(client.data_converter.payload_codec).encode, body)


def _codec(codec: object) -> EncryptionCodec:
    if not isinstance(codec, EncryptionCodec):
        raise NotFoundError("no PYTAKE_ENCRYPTION_KEYS are set: payloads are not encrypted")
    return codec


async def _changed(
    change: Callable[[Sequence[TemporalPayload]], Awaitable[list[TemporalPayload]]], body: Payloads
) -> Payloads:
    given = [TemporalPayload(metadata=item.metadata, data=item.data) for item in body.payloads]
    try:
        changed = await change(given)
    except ConfigurationError as error:
        raise InvalidRequestError.of("payloads", str(error)) from None
    return Payloads.model_construct(
        payloads=[
            Payload.model_construct(metadata=dict(item.metadata), data=item.data)
            for item in changed
        ]
    )
