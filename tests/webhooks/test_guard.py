"""The SSRF guard over the real transport: forbidden addresses are never connected to."""

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from pytake.webhooks.guard import BlockedUrlError, check_address, check_url, parse_networks
from pytake.webhooks.transport import DeliveryError, GuardedClient

BLOCKED_ADDRESSES = [
    "127.0.0.1",
    "127.255.255.254",
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "10.255.255.255",
    "172.16.0.1",
    "172.31.255.254",
    "192.168.0.1",
    "192.168.255.255",
    "169.254.169.254",
    "169.254.0.1",
    "100.64.0.1",
    "100.127.255.254",
    "192.0.0.1",
    "192.0.0.170",
    "192.0.2.1",
    "198.18.0.1",
    "198.19.255.254",
    "198.51.100.1",
    "203.0.113.7",
    "192.88.99.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::1",
    "::",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "::127.0.0.1",
    "::8.8.8.8",
    "fe80::1",
    "febf::1",
    "fec0::1",
    "fc00::1",
    "fd12:3456::1",
    "ff02::1",
    "ff0e::1",
    "2001:db8::1",
    "64:ff9b::7f00:1",
    "64:ff9b::808:808",
    "64:ff9b:1::1",
    "2002:7f00:1::",
    "2002:808:808::1",
    "2001::1",
    "2001:10::1",
    "3fff::1",
    "3fff:fff::1",
    "5f00::1",
    "100::1",
    "400::1",
    "1fff:ffff::1",
    "4000::1",
    "6000::1",
    "8000::1",
    "a000::1",
    "c000::1",
    "e000::1",
    "f800::1",
    "::ffff:0:7f00:1",
    "::ffff:0:808:808",
]
PUBLIC_ADDRESSES = [
    "8.8.8.8",
    "1.1.1.1",
    "172.32.0.1",
    "100.128.0.1",
    "11.0.0.1",
    "2606:4700:4700::1111",
    "2a00:1450::1",
    "2001:4860:4860::8888",
    "3ffe:ffff::1",
    "::ffff:8.8.8.8",
]
BLOCKED_URLS = [
    "",
    "x",
    "//example.com",
    "ftp://example.com/",
    "file:///etc/passwd",
    "gopher://127.0.0.1:70/",
    "unix:///var/run/docker.sock",
    "http://",
    "http:///x",
    "https://user@example.com/",
    "https://user:pw@example.com/",
    "http://example.com:0/",
    "http://example.com:99999/",
    "http://exa mple.com/",
    "http://example.com/\r\nHost: x",
    "http://example.com\\@127.0.0.1/",
    "http://127.0.0.1/",
    "http://127.1/",
    "http://2130706433/",
    "http://0x7f000001/",
    "http://0177.0.0.1/",
    "http://0/",
    "http://localhost/",
    "http://LOCALHOST./",
    "http://[::1]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:7f00:1]/",
    "http://[fe80::1%25lo]/",
    "http://169.254.169.254/latest/meta-data/",
    "http://[fd00:ec2::254]/",
    "javascript:alert(1)",
    "data:text/plain,x",
    "http://[::]/",
    "http://[64:ff9b::7f00:1]/",
]


@pytest.fixture
async def client() -> AsyncIterator[GuardedClient]:
    client = GuardedClient()
    yield client
    await client.aclose()


@pytest.fixture
async def listener() -> AsyncIterator[tuple[int, list[bytes]]]:
    """A server on loopback that must never hear anything."""
    heard: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read(100))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1], heard
    server.close()


def test_the_tables_have_at_least_60_entries() -> None:
    assert len({*BLOCKED_ADDRESSES, *BLOCKED_URLS}) >= 60


@pytest.mark.parametrize("address", BLOCKED_ADDRESSES)
async def test_addresses_that_are_not_public_are_refused(
    client: GuardedClient, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    """Through the transport: the name resolves to the address, whatever the URL says."""
    with pytest.raises(BlockedUrlError):
        check_address(address)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET

    def resolve(*_args: Any, **_kwargs: Any) -> list[Any]:
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("8.8.8.8", 80)),
            (family, socket.SOCK_STREAM, 6, "", (address, 80)),
        ]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with pytest.raises(BlockedUrlError, match="not a public address"):
        await client.post("http://tenant.example/", headers={}, body=b"{}", deadline=2)


@pytest.mark.parametrize("address", PUBLIC_ADDRESSES)
def test_public_addresses_pass(address: str) -> None:
    check_address(address)


@pytest.mark.parametrize("url", BLOCKED_URLS)
async def test_urls_are_refused_before_or_at_the_connection(
    client: GuardedClient, url: str
) -> None:
    with pytest.raises((BlockedUrlError, DeliveryError)) as raised:
        await client.post(url, headers={}, body=b"{}", deadline=2)
    assert isinstance(raised.value, BlockedUrlError) or "resolve" in str(raised.value), raised.value


async def test_dns_rebinding_between_lookup_and_connection_has_no_effect(
    client: GuardedClient, listener: tuple[int, list[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    port, heard = listener
    answers = iter([[("1.1.1.1", port)], [("127.0.0.1", port)]])

    def resolve(*_args: Any, **_kwargs: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", item) for item in next(answers)]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    dialled: list[str] = []

    async def dial(self: Any, host: str, *args: Any, **kwargs: Any) -> Any:
        import httpcore

        dialled.append(host)
        raise httpcore.ConnectError("unreachable from here")

    monkeypatch.setattr("httpcore.AnyIOBackend.connect_tcp", dial)
    with pytest.raises(DeliveryError):
        await client.post(f"http://rebind.example:{port}/", headers={}, body=b"{}", deadline=2)
    with pytest.raises(BlockedUrlError):
        await client.post(f"http://rebind.example:{port}/", headers={}, body=b"{}", deadline=2)
    assert dialled == ["1.1.1.1"], "the checked address is the one that is dialled"
    assert heard == []


async def test_an_allowed_network_is_an_exception(listener: tuple[int, list[bytes]]) -> None:
    port, heard = listener
    client = GuardedClient(parse_networks("10.0.0.0/8, 127.0.0.0/8"))
    answer, _ = await client.post(f"http://127.0.0.1:{port}/", headers={}, body=b"{}", deadline=5)
    assert answer.status == 200
    assert len(heard) == 1
    await client.aclose()


def test_ports_can_be_restricted() -> None:
    check_url("https://example.com/", frozenset({443}))
    check_url("https://example.com:8443/", frozenset({443, 8443}))
    for url in ("https://example.com:22/", "http://example.com/"):
        with pytest.raises(BlockedUrlError, match="port"):
            check_url(url, frozenset({443}))


@pytest.mark.parametrize("host", ["xn--127.0.0.1", "xn--a.com", "xn--zz---", "xn--\xe9"])
def test_names_that_the_http_client_cannot_read_are_refused(host: str) -> None:
    with pytest.raises(BlockedUrlError):
        check_url(f"https://{host}/")
    check_url("https://xn--e1afmkfd.xn--p1ai/")
