"""No HTTP client of PyTake keeps cookies."""

import ast
import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pytake.webhooks.authentication import Authenticator
from pytake.webhooks.guard import parse_networks
from pytake.webhooks.tables import WebhookEndpoint
from pytake.webhooks.transport import GuardedClient
from pytake.whatsapp.client import CloudApi

ROOT = Path(__file__).parents[2]
_BODY = b'{"access_token": "t", "messages": [{"id": "wamid.1"}]}'


@pytest.fixture
async def server() -> AsyncIterator[tuple[int, list[bytes]]]:
    """A server that sets a cookie in every response and records the requests' headers."""
    heads: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        heads.append(head.lower())
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        await reader.readexactly(length)
        writer.write(
            b"HTTP/1.1 200 OK\r\nSet-Cookie: tenant=a; Path=/\r\nConnection: close\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(_BODY), _BODY)
        )
        writer.close()

    listening = await asyncio.start_server(answer, "127.0.0.1", 0)
    yield listening.sockets[0].getsockname()[1], heads
    listening.close()


async def test_deliveries_and_oauth_token_requests_carry_no_cookie(
    server: tuple[int, list[bytes]],
) -> None:
    port, heads = server
    client = GuardedClient(parse_networks("127.0.0.0/8"))
    url = f"http://127.0.0.1:{port}/"
    for _ in range(2):
        answer = (await client.post(url, headers={}, body=b"{}", deadline=5))[0]
        assert answer.status == 200
    endpoint = cast(
        WebhookEndpoint,
        SimpleNamespace(id="whe_1", tenant_id="t", auth_type="OAuth2", timeout_seconds=5),
    )
    oauth = {"token_url": url, "client_id": "i", "client_secret": "s"}
    for _ in range(2):
        await Authenticator(client).headers(endpoint, {"oauth2": oauth}, fresh=True)
    own = {"Cookie": "own=1"}
    await client.post(url, headers=own, body=b"{}", deadline=5)
    await client.aclose()
    assert len(heads) == 5
    assert not any(b"tenant=a" in head for head in heads)
    assert b"cookie: own=1" in heads[-1], "a tenant's own header is sent"


async def test_calls_to_meta_carry_no_cookie(server: tuple[int, list[bytes]]) -> None:
    port, heads = server
    async with CloudApi(f"http://127.0.0.1:{port}", "v25.0", "token", timeout=5) as api:
        for _ in range(2):
            await api.send("1", {"to": "5561994013828"})
    assert len(heads) == 2
    assert not any(b"\r\ncookie:" in head for head in heads)


def test_every_http_client_has_no_cookie_jar() -> None:
    made: list[tuple[str, Any]] = []
    for folder in ("pytake", "activities", "api", "workflows"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and ast.unparse(node.func) in (
                    "httpx.AsyncClient",
                    "httpx.Client",
                ):
                    cookies = {k.arg: ast.unparse(k.value) for k in node.keywords}.get("cookies")
                    made.append((str(path), cookies))
    assert len(made) >= 4
    assert [path for path, cookies in made if cookies != "NoCookies()"] == []
