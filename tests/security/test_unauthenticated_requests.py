"""Unauthenticated requests cost little: no body is read, nothing is stored, nobody else waits."""

import asyncio
import http.client
import json
import socket
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from api import protocol
from api.access import Authenticator
from tests.security.api_alone import Alone, api_alone

NUMBERS = "/api/v1/whatsapp/numbers"
MB = 1024 * 1024


@pytest.fixture(scope="module")
async def alone(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Alone]:
    async with api_alone(tmp_path_factory.mktemp("alone")) as running:
        running.admin = running.key()  # type: ignore[attr-defined]  # made before the API looks
        yield running


def head(alone: Alone, method: str, path: str, *lines: str) -> bytes:
    return "\r\n".join(
        (f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{alone.settings.api.port}", *lines, "", "")
    ).encode()


async def status_of(reader: asyncio.StreamReader) -> int:
    return int((await asyncio.wait_for(reader.readline(), 20)).split()[1])


async def ask(alone: Alone, *parts: bytes) -> int:
    """Send exactly these bytes; return the status of the response."""
    reader, writer = await asyncio.open_connection("127.0.0.1", alone.settings.api.port)
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
        return await status_of(reader)
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("method", "path", "line", "status"),
    [
        ("POST", "/api/v1/codec/decode", "X: y", 401),
        ("POST", "/api/v1/queue/send", "Authorization: Bearer wrong", 401),
        ("POST", "/api/v1/whatsapp/webhook", "X: y", 403),
        ("POST", "/api/v1/whatsapp/webhook", "X-Hub-Signature-256: sha256=00", 403),
    ],
)
async def test_the_response_comes_before_any_body_is_read(
    alone: Alone, method: str, path: str, line: str, status: int
) -> None:
    assert await ask(alone, head(alone, method, path, line, "Content-Length: 14000000")) == status
    assert await ask(alone, head(alone, method, path, line, "Transfer-Encoding: chunked")) == status


async def test_a_declared_size_is_refused_before_any_body(alone: Alone) -> None:
    for size in (2 * MB, 10**18):
        lines = (*lines_of(alone), f"Content-Length: {size}")
        assert await ask(alone, head(alone, "POST", "/api/v1/queue/send", *lines)) == 413


def lines_of(alone: Alone) -> list[str]:
    headers: dict[str, str] = alone.admin  # type: ignore[attr-defined]
    return [f"{name}: {value}" for name, value in headers.items()]


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("closing", [False, True])
@pytest.mark.parametrize(("keyed", "status"), [(True, 413), (False, 401)])
async def test_a_client_that_writes_before_it_reads_sees_the_refusal(
    alone: Alone, chunked: bool, closing: bool, keyed: bool, status: int
) -> None:
    headers: dict[str, str] = dict(alone.admin) if keyed else {}  # type: ignore[attr-defined]
    if closing:
        headers["Connection"] = "close"  # as urllib does
    size = 8 * MB

    def post() -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", alone.settings.api.port, timeout=30)
        body: Any = (b" " * 65536 for _ in range(size // 65536)) if chunked else b" " * size
        connection.request(
            "POST", "/api/v1/queue/send", body, headers, encode_chunked=chunked
        ) if not chunked else connection.request(
            "POST",
            "/api/v1/queue/send",
            body,
            {**headers, "Transfer-Encoding": "chunked"},
            encode_chunked=True,
        )
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())

    found, problem = await asyncio.to_thread(post)
    assert (found, problem["status"]) == (status, status)


async def test_discarded_input_is_limited(alone: Alone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "DISCARDED_BYTES", 2 * MB)
    _, writer = await asyncio.open_connection("127.0.0.1", alone.settings.api.port)
    writer.write(head(alone, "POST", "/api/v1/queue/send", "Transfer-Encoding: chunked"))
    sent = 0
    with suppress(ConnectionError):
        while sent < 64 * MB:
            writer.write(b"10000\r\n" + b" " * 65536 + b"\r\n")
            await asyncio.wait_for(writer.drain(), 10)
            sent += 65536
    assert sent < 32 * MB, "the limit plus the socket buffers"


@pytest.mark.parametrize(
    "piece",
    [b"X: " + b"a" * 65536 + b"\r\n", b"a" * 65536, b"Y: z\r\n" * 10000],
    ids=["lines", "one", "many"],
)
async def test_headers_are_limited(alone: Alone, piece: bytes) -> None:
    start = head(alone, "GET", NUMBERS)[:-2] + b"Z: "
    assert await ask(alone, start, *[piece] * 20) == 431


async def test_too_many_small_headers_are_refused(alone: Alone) -> None:
    lines = [f"X-{index}: y" for index in range(protocol.HEADERS + 1)]
    assert await ask(alone, head(alone, "GET", "/health/live", *lines)) == 431
    assert await ask(alone, head(alone, "GET", "/health/live", *lines[:100])) == 200


async def test_slow_headers_and_slow_bodies_are_ended(
    alone: Alone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.5)
    monkeypatch.setattr(protocol, "BODY_SECONDS", 0.5)

    async def slowly(start: bytes) -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", alone.settings.api.port)
        writer.write(start)
        answer = asyncio.ensure_future(status_of(reader))
        deadline = time.monotonic() + 15
        while not answer.done():
            assert time.monotonic() < deadline, "still waiting for this client"
            writer.write(b"a")
            await asyncio.sleep(0.05)
        writer.close()
        return await answer

    body = head(alone, "POST", "/api/v1/queue/send", *lines_of(alone), "Content-Length: 1000000")
    callback = head(
        alone,
        "POST",
        "/api/v1/whatsapp/webhook",
        f"X-Hub-Signature-256: sha256={'0' * 64}",
        "Content-Length: 1000000",
    )
    assert await asyncio.gather(
        slowly(b"GET / HTTP/1.1\r\nX: "), slowly(body), slowly(callback)
    ) == [408, 408, 408]
    reader, writer = await asyncio.open_connection("127.0.0.1", alone.settings.api.port)
    assert await asyncio.wait_for(reader.read(), 10) == b"", "a silent client is disconnected"
    writer.close()


async def test_ordinary_clients_are_served_as_usual(alone: Alone) -> None:
    headers = {**alone.admin, "Content-Type": "application/json"}  # type: ignore[attr-defined]
    body = b'{"messages": [' + b" " * (MB - 100) + b"{}]}"
    for _ in range(3):
        answer = await alone.client.post("/api/v1/queue/send/batch", content=body, headers=headers)
        assert (answer.status_code, answer.json()["rejected"]) == (202, 1)
    two = head(alone, "GET", "/health/live") * 2
    reader, writer = await asyncio.open_connection("127.0.0.1", alone.settings.api.port)
    writer.write(two + head(alone, "GET", "/health/live", "Connection: close"))
    assert (await asyncio.wait_for(reader.read(), 10)).count(b"200 OK") == 3
    writer.close()


async def test_wrong_keys_are_throttled_not_stored_and_lock_nobody_out(alone: Alone) -> None:
    headers: dict[str, str] = alone.admin  # type: ignore[attr-defined]
    statuses = []
    for number in range(150):
        wrong = {"Authorization": f"Bearer ptk_{number:012x}_{'x' * 5000}"}
        answer = await alone.client.get(NUMBERS, headers=wrong)
        statuses.append(answer.status_code)
        if answer.status_code == 429:
            assert int(answer.headers["Retry-After"]) >= 1
            assert (await alone.client.get(NUMBERS, headers=headers)).status_code == 200
            break
    assert set(statuses) == {401, 429}
    authenticator = await asyncio.to_thread(held, alone)
    assert "x" * 50 not in authenticator


def held(alone: Alone) -> str:
    """The state that this process's authenticators hold."""
    import gc

    found = [item for item in gc.get_objects() if isinstance(item, Authenticator)]
    assert found
    return repr([(vars(item), vars(item._wrong), vars(item._requests)) for item in found])


async def test_a_key_has_one_rate_in_any_spelling_and_batches_cost_more(
    tmp_path: Path,
) -> None:
    async with api_alone(tmp_path, PYTAKE_REQUESTS_PER_SECOND=2.0) as alone:
        text = alone.key()["Authorization"].partition(" ")[2]
        spelt = ("Bearer {}", "bearer {}", "BEARER {}", "BeArEr  {}", "bEARER {}")
        statuses = [
            (
                await alone.client.get(NUMBERS, headers={"Authorization": way.format(text)})
            ).status_code
            for way in spelt * 3
        ]
        assert statuses[:4] == [200] * 4
        assert statuses.count(200) < 10, "two per second, with a burst of four"
        headers = alone.key()
        batch = {"messages": [{}] * 500}
        sent = await alone.client.post("/api/v1/queue/send/batch", json=batch, headers=headers)
        assert (sent.status_code, sent.json()["rejected"]) == (202, 500)
        refused = await alone.client.get(NUMBERS, headers=headers)
        assert refused.status_code == 429
        assert 20 <= int(refused.headers["Retry-After"]) <= 24, "500 messages count as 50 requests"


async def test_connections_are_limited_and_existing_ones_keep_working(
    alone: Alone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "MOST_CONNECTIONS", 8)
    opened = [
        await asyncio.open_connection("127.0.0.1", alone.settings.api.port) for _ in range(40)
    ]

    async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        with suppress(ConnectionError):
            writer.write(head(alone, "GET", "/health/live"))
            return (await asyncio.wait_for(reader.readline(), 10)).endswith(b" 200 OK\r\n")
        return False

    answered = [await served(*connection) for connection in opened]
    assert 0 < answered.count(True) <= 8
    for _, writer in opened:
        writer.close()
    await asyncio.sleep(0.2)
    assert await ask(alone, head(alone, "GET", "/health/live")) == 200


async def test_an_unread_response_is_dropped(alone: Alone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "WRITE_SECONDS", 0.5)
    connections = alone.server.server_state.connections
    others, wanted, client = set(connections), 100, socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", alone.settings.api.port))
    reader, writer = await asyncio.open_connection(sock=client, limit=4096)
    while not connections - others:
        await asyncio.sleep(0.01)
    writer.write(head(alone, "GET", "/openapi.json") * wanted)
    while connections - others:
        await asyncio.sleep(0.1)
    got = 0
    with suppress(ConnectionError):
        while data := await asyncio.wait_for(reader.read(65536), 10):
            got += data.count(b"HTTP/1.1 200 OK")
    assert got < wanted
    writer.close()
