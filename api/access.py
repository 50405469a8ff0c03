"""Authentication of requests: API keys, their rate limits, and the API without keys."""

import asyncio
import base64
import binascii
import ipaddress
import math
import time
from collections.abc import Mapping
from typing import Final

import structlog

from pytake.access import keyless, keys
from pytake.access.principals import Principal
from pytake.access.token_buckets import TokenBuckets
from pytake.database.engine import Database
from pytake.problems import ForbiddenError, TooManyRequestsError, UnauthorizedError
from pytake.process.local_requests import foreign_reason
from pytake.settings import Settings
from pytake.tenants import DEFAULT_TENANT

_log = structlog.get_logger()

FRESH_SECONDS: Final = 3.0
"""How long a revoked key may still work."""
_WRONG_PER_SECOND: Final = 10.0
_WRONG_BURST: Final = 50.0
_LOOKS_PER_SECOND: Final = 5.0
_LOOKS_BURST: Final = 20.0
"""Burst of database reads for unknown keys; beyond it, a new key works only after the next renewal."""
_LONGEST_KEY: Final = 200
_BEARER: Final = {"WWW-Authenticate": "Bearer"}
_BASIC: Final = {"WWW-Authenticate": 'Basic realm="PyTake codec", charset="UTF-8"'}


class Authenticator:
    """Checks keys against a copy of their hashes, so that a wrong key costs no database call.

    The copy is checked every few seconds, and read again only if a key was created or revoked since.
    """

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings
        self._rate = settings.api.requests_per_second
        self._keyless = bool(settings.api.keyless) and settings.api.serves_loopback
        self._active: Mapping[str, keys.ActiveKey] = {}
        self._census: keys.Census | None = None
        self._fresh_until = 0.0
        self._renewing = asyncio.Lock()
        self._requests = TokenBuckets()
        self._wrong = TokenBuckets()
        self._looks = TokenBuckets()
        self._reported = 0.0

    async def principal(
        self, headers: list[tuple[bytes, bytes]], client: str, *, codec: bool = False
    ) -> Principal:
        """Authenticate a request.

        Args:
            headers: the request's headers, names in lower case.
            client: the address it came from.
            codec: whether pages of the Temporal Web UI may send it, and the key may be the password of
                HTTP basic authentication.

        Raises:
            UnauthorizedError: keys exist, and the request has no valid one.
            ForbiddenError: no keys exist, and the request is not from this machine alone.
            TooManyRequestsError: the key exceeds its rate, or the address sent too many wrong keys.
        """
        await self._renew()
        given = [value for name, value in headers if name == b"authorization"]
        challenge = _BASIC if codec else _BEARER
        if not given:
            if not self._keyless:
                raise UnauthorizedError(
                    "send an API key: Authorization: Bearer ptk_...", headers=challenge
                )
            self.check_local(headers, codec=codec)
            return Principal(DEFAULT_TENANT, admin=True, keyless=True)
        text = _key_text(given[0], basic=codec) if len(given) == 1 else None
        key = await self._find(text) if text else None
        if key is None:
            self._count_wrong(client)
            raise UnauthorizedError("the API key is not valid or was revoked", headers=challenge)
        if self._rate and (wait := self._requests.take(key.id, self._rate, 2 * self._rate)):
            raise TooManyRequestsError(
                f"the API key may make {self._rate:g} requests a second",
                headers={"Retry-After": str(math.ceil(wait))},
            )
        return Principal(key.tenant_id, key.admin, key_id=key.id)

    def charge(self, principal: Principal, requests: float) -> None:
        """Count a request as several against the key's rate."""
        if self._rate and principal.key_id is not None:
            self._requests.charge(principal.key_id, requests - 1, self._rate, 2 * self._rate)

    def check_local(self, headers: list[tuple[bytes, bytes]], *, codec: bool = False) -> None:
        """Without keys, admit only programs and pages of this machine.

        Raises:
            ForbiddenError: the request is not from this machine alone.
        """
        origins = (self._settings.api.temporal_ui_origin,) if codec else ()
        if why := foreign_reason(headers, self._settings.api.host, origins):
            raise ForbiddenError(
                f"without an API key only this machine is served, and {why}: create a key with "
                "`pytake key create`"
            )

    async def _find(self, text: str) -> keys.ActiveKey | None:
        key = keys.find(self._active, text)
        if key is None and not self._looks.take("", _LOOKS_PER_SECOND, _LOOKS_BURST):
            await self._renew(at_once=True)  # the key may be new
            key = keys.find(self._active, text)
        return key

    async def _renew(self, *, at_once: bool = False) -> None:
        if not at_once and self._fresh_until > time.monotonic():
            return
        async with self._renewing:
            if not at_once and self._fresh_until > time.monotonic():
                return
            census = await self._database.read(keys.census)
            if census != self._census:
                self._active = await self._database.read(keys.active)
                self._census = census
            if self._keyless and (
                census.total
                or await asyncio.to_thread(keyless.marker_exists, self._settings.storage.data_dir)
            ):
                self._keyless = False  # permanently: an emptied database does not open the API
                await asyncio.to_thread(keyless.try_write_marker, self._settings.storage.data_dir)
                _log.warning("API keys exist now: requests without one are refused from now on")
            self._fresh_until = time.monotonic() + FRESH_SECONDS

    def _count_wrong(self, client: str) -> None:
        wait = self._wrong.take(_network(client), _WRONG_PER_SECOND, _WRONG_BURST)
        if not wait:
            return
        if self._reported < time.monotonic():
            self._reported = time.monotonic() + 60
            _log.warning("an address tries many wrong API keys", address=client)
        raise TooManyRequestsError(
            "too many requests with wrong API keys came from this address",
            headers={"Retry-After": str(math.ceil(wait))},
        )


def _key_text(authorization: bytes, *, basic: bool) -> str | None:
    """The key in an ``Authorization`` header; with ``basic``, also as the password."""
    scheme, _, text = authorization.decode("latin-1").strip().partition(" ")
    text = text.strip()
    if len(text) > _LONGEST_KEY:
        return None
    if scheme.lower() == "bearer":
        return text
    if basic and scheme.lower() == "basic":
        try:
            return base64.b64decode(text, validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return None
    return None


def _network(client: str) -> str:
    """The network of one client: an IPv4 address, or an IPv6 /64 (RFC 6177)."""
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return client[:100]
    if address.version == 6:
        return str(ipaddress.ip_network((int(address) >> 64 << 64, 64)))
    return client
