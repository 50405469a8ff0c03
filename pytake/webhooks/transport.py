"""HTTP to tenant-chosen URLs: connects only to addresses that have been checked."""

import asyncio
import ssl
import time
from collections.abc import Iterable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final

import httpcore
import httpx

from pytake.cookies import NoCookies
from pytake.webhooks.client_certificates import CertificateError, ClientCertificate, Contexts
from pytake.webhooks.guard import BlockedUrlError, Network, check_address, check_url
from pytake.webhooks.headers import unsendable
from pytake.webhooks.resolver import ResolutionError, Resolver, ResolverBusyError, ResolverLimits

KEPT_BODY: Final = 16 * 1024
"""Bytes of a response body that are read and kept."""
_KEPT_HEADERS: Final = 50
_OWNER: Final[ContextVar[str]] = ContextVar("owner", default="")
"""Owner of the current request: httpcore passes a backend only the host."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An endpoint's response, truncated to the limits above."""

    status: int
    headers: dict[str, str]
    body: str


class DeliveryError(Exception):
    """No response was received; the text says why."""


class BusyError(Exception):
    """The request was not sent for lack of capacity here, which is not the endpoint's fault."""


class _GuardedBackend(httpcore.AsyncNetworkBackend):
    """Resolves the host, checks every address, and connects to one; TLS still verifies the host name."""

    def __init__(self, allowed: Sequence[Network], resolver: Resolver) -> None:
        self._allowed = allowed
        self._resolver = resolver
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's own signature
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first address that answers, if all of the host's addresses are allowed."""
        try:
            addresses = await self._resolver.addresses(host, _OWNER.get())
        except ResolutionError as error:
            raise httpcore.ConnectError(str(error)) from error
        for address in addresses:
            check_address(address, self._allowed)
        failure: Exception = httpcore.ConnectError(f"{host} has no address")
        for address in addresses:
            try:
                return await self._inner.connect_tcp(
                    address, port, timeout, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    async def connect_unix_socket(
        self, path: str, *_: Any, **__: Any
    ) -> httpcore.AsyncNetworkStream:
        """Refuse: not supported."""
        raise BlockedUrlError("unix sockets cannot be reached")

    async def sleep(self, seconds: float) -> None:
        """Sleep; used by httpcore for its own retries."""
        await asyncio.sleep(seconds)


class _GuardedTransport(httpx.AsyncHTTPTransport):
    def __init__(
        self, allowed: Sequence[Network], context: ssl.SSLContext, resolver: Resolver
    ) -> None:
        super().__init__(verify=context, trust_env=False)
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=context,
            max_connections=None,
            max_keepalive_connections=100,
            keepalive_expiry=30,
            network_backend=_GuardedBackend(allowed, resolver),
        )


class GuardedClient:
    """A pooled HTTP client whose connections all pass the guard. Does not follow redirects."""

    def __init__(
        self,
        allowed: Sequence[Network] = (),
        ports: frozenset[int] = frozenset(),
        limits: ResolverLimits | None = None,
    ) -> None:
        self._allowed = allowed
        self._ports = ports
        self._resolver = Resolver(limits)
        self._client = self._make(ssl.create_default_context())
        self._contexts = Contexts()

    def _make(self, context: ssl.SSLContext) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            transport=_GuardedTransport(self._allowed, context, self._resolver),
            cookies=NoCookies(),
            trust_env=False,
            follow_redirects=False,
            timeout=None,  # noqa: S113 - one deadline over everything, in post()
        )

    async def aclose(self) -> None:
        """Close every connection."""
        await self._client.aclose()
        self._resolver.close()

    async def post(
        self,
        url: str,
        *,
        headers: dict[str, str],
        body: bytes,
        deadline: float,
        certificate: ClientCertificate | None = None,
        owner: str = "",
    ) -> tuple[Answer, float]:
        """POST within ``deadline`` seconds in total; returns the response and the duration in seconds.

        ``owner`` is the tenant that chose the URL; DNS lookups are limited per owner.

        Raises:
            BlockedUrlError: the URL or its address is not allowed.
            DeliveryError: there was no response, or the request cannot be sent.
            BusyError: nothing was sent, because too many DNS lookups are running.
        """
        check_url(url, self._ports)
        if (problem := unsendable(headers)) is not None:
            raise DeliveryError(problem)
        _OWNER.set(owner)
        started = time.monotonic()
        try:
            async with asyncio.timeout(deadline):
                if certificate is None:
                    answer = await self._exchange(self._client, url, headers, body)
                else:
                    context = await asyncio.to_thread(self._contexts.of, certificate)
                    async with self._make(context) as client:
                        answer = await self._exchange(client, url, headers, body)
        except TimeoutError:
            raise DeliveryError(f"no complete answer within {deadline:g} s") from None
        except CertificateError as error:
            raise DeliveryError(str(error)) from None
        except ResolverBusyError as error:
            raise BusyError(str(error)) from error
        except httpx.LocalProtocolError:
            # Its text quotes the offending value, which may be a secret.
            raise DeliveryError("HTTP cannot carry the request as it is configured") from None
        except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError) as error:
            raise DeliveryError(f"{type(error).__name__}: {error}"[:500]) from error
        return answer, time.monotonic() - started

    @staticmethod
    async def _exchange(
        client: httpx.AsyncClient, url: str, headers: dict[str, str], body: bytes
    ) -> Answer:
        async with client.stream("POST", url, headers=headers, content=body) as response:
            kept = bytearray()
            async for chunk in response.aiter_raw(8192):
                kept += chunk
                if len(kept) >= KEPT_BODY:
                    break
            items = list(response.headers.items())[:_KEPT_HEADERS]
            text = bytes(kept[:KEPT_BODY]).decode("utf-8", "replace").replace("\0", "\ufffd")
            return Answer(response.status_code, {k: v[:1000] for k, v in items}, text)
