"""Names whose DNS server does not answer hold up neither other tenants nor calls to Meta.

The tests replace the system's ``getaddrinfo``: names under ``.silent`` never get an answer.
"""

import asyncio
import socket
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from pytake.webhooks.guard import parse_networks
from pytake.webhooks.resolver import (
    ResolutionError,
    Resolver,
    ResolverBusyError,
    ResolverLimits,
)
from pytake.webhooks.transport import BusyError, DeliveryError, GuardedClient
from pytake.whatsapp.client import CloudApi

_FULL = ResolverLimits(timeout=0.3, patience=0.1)


class Dns:
    """A fake ``getaddrinfo`` that counts look-ups; names in ``silent`` get no answer."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: Counter[str] = Counter()
        self.silent: set[str] = set()
        self.end = threading.Event()
        self._real = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", self)

    def __call__(self, name: str | bytes, port: Any, *args: Any, **kwargs: Any) -> Any:
        host = name.decode() if isinstance(name, bytes) else name
        self.asked[host] += 1
        if host.endswith(".silent") or host in self.silent:
            self.end.wait(60)
            raise socket.gaierror(socket.EAI_AGAIN, "no answer")
        if host.endswith(".missing"):
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        if host.endswith(".fine"):
            host = "127.0.0.1"
        return self._real(host, port, *args, **kwargs)


@pytest.fixture
def dns(monkeypatch: pytest.MonkeyPatch) -> Iterator[Dns]:
    dns = Dns(monkeypatch)
    yield dns
    dns.end.set()


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """A server that answers every POST."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = b'{"messages": [{"id": "wamid.1"}]}'
        writer.write(
            b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        )
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


async def test_100_unanswered_names_hold_up_nobody_else(dns: Dns, port: int) -> None:
    limits = ResolverLimits(patience=0.3)
    client = GuardedClient(parse_networks("127.0.0.0/8"), limits=limits)

    async def post(host: str, owner: str) -> object:
        try:
            url = f"http://{host}:{port}/"
            return (await client.post(url, headers={}, body=b"{}", deadline=1.5, owner=owner))[
                0
            ].status
        except (DeliveryError, BusyError) as error:
            return error

    hanging = [
        asyncio.create_task(post(f"n{index}.silent", f"bad{index % 20}")) for index in range(100)
    ]
    while sum(dns.asked.values()) < 10:
        await asyncio.sleep(0.01)
    started = time.monotonic()
    assert await post("a.fine", "good") == 200
    # The event loop's own look-ups, which connections to Meta use, are not affected.
    async with CloudApi(f"http://localhost:{port}", "v25.0", "token", timeout=3) as api:
        assert (await api.send("1", {"to": "5561994013828"})).wamid == "wamid.1"
    assert await post("b.fine", "good") == 200
    assert time.monotonic() - started < 1.5, "nobody waited for an unanswered name"
    assert not any(task.done() and task.result() == 200 for task in hanging)
    assert {type(error) for error in await asyncio.gather(*hanging)} == {DeliveryError, BusyError}
    await client.aclose()


async def test_concurrent_look_ups_are_limited_per_owner(dns: Dns) -> None:
    resolver = Resolver(_FULL)
    bad = [resolver.addresses(f"n{index}.silent", "bad") for index in range(12)]
    results = await asyncio.gather(*bad, return_exceptions=True)
    assert Counter(map(type, results)) == {ResolutionError: 4, ResolverBusyError: 8}
    assert sum(dns.asked.values()) == 4, "the threads are still held, and counted"
    assert await resolver.addresses("a.fine", "good") == ["127.0.0.1"]
    with pytest.raises(ResolverBusyError):
        await resolver.addresses("b.fine", "bad")
    resolver.close()


async def test_names_resolved_before_keep_a_quarter_of_the_threads(dns: Dns) -> None:
    resolver = Resolver(_FULL)
    assert await resolver.addresses("known.fine", "good") == ["127.0.0.1"]
    bad = [resolver.addresses(f"n{index}.silent", f"bad{index}") for index in range(100)]
    results = await asyncio.gather(*bad, return_exceptions=True)
    assert Counter(map(type, results)) == {ResolutionError: 48, ResolverBusyError: 52}
    assert await resolver.addresses("known.fine", "good") == ["127.0.0.1"]
    assert dns.asked["known.fine"] == 2, "looked up again, not cached"
    with pytest.raises(ResolverBusyError):
        await resolver.addresses("new.fine", "good")
    resolver.close()


async def test_a_resolved_name_keeps_its_addresses_while_dns_is_silent(dns: Dns) -> None:
    resolver = Resolver(_FULL)
    assert await resolver.addresses("a.fine", "good") == ["127.0.0.1"]
    dns.silent.add("a.fine")
    for _ in range(3):
        assert await resolver.addresses("a.fine", "good") == ["127.0.0.1"]
    assert dns.asked["a.fine"] == 2
    resolver.close()


@pytest.mark.parametrize("name", ["x.silent", "x.missing"])
async def test_failures_are_cached(dns: Dns, name: str) -> None:
    resolver = Resolver(_FULL)
    for _ in range(5):
        with pytest.raises(ResolutionError, match=f"^{name} cannot be resolved"):
            await resolver.addresses(name, "tenant")
    assert dns.asked[name] == 1
    resolver.close()


async def test_concurrent_look_ups_of_a_name_are_shared(dns: Dns) -> None:
    resolver = Resolver(_FULL)
    asking = [resolver.addresses("x.silent", f"tenant{index}") for index in range(50)]
    results = await asyncio.gather(*asking, return_exceptions=True)
    assert {type(result) for result in results} == {ResolutionError}
    assert dns.asked["x.silent"] == 1
    resolver.close()


async def test_addresses_in_the_url_need_no_look_up(dns: Dns) -> None:
    resolver = Resolver(_FULL)
    assert await resolver.addresses("192.0.2.1", "t") == ["192.0.2.1"]
    assert await resolver.addresses("::1", "t") == ["::1"]
    assert not dns.asked
    resolver.close()
