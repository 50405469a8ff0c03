"""Logged errors say where they happened, without the data that was being processed."""

import asyncio
import io
import json
import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import pytest
import structlog
from pydantic import BaseModel, ValidationError
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from pytake.access import keys
from pytake.clock import now
from pytake.database.engine import Database
from pytake.messages.accept import Acceptor
from pytake.process.logs import configure_logging
from tests.stack import EXAMPLE, Stack, eventually, fresh_recipient

SECRET = "o pedido 4711 da Maria"


@contextmanager
def logged(log_format: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What a process with this log format writes to stderr."""
    handlers, level = logging.root.handlers[:], logging.root.level
    hooks = sys.excepthook, threading.excepthook
    output = io.StringIO()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", output)
        configure_logging(log_format, "INFO")
    try:
        yield output
    finally:
        sys.excepthook, threading.excepthook = hooks
        logging.root.handlers[:] = handlers
        logging.root.setLevel(level)
        structlog.reset_defaults()


async def send_incomplete(stack: Stack, headers: str = "") -> None:
    """A POST to the callback whose client disconnects after the first bytes."""
    _reader, writer = await asyncio.open_connection("127.0.0.1", stack.settings.api.port)
    signature = f"sha256={'0' * 64}"
    writer.write(
        f"POST /api/v1/whatsapp/webhook HTTP/1.1\r\nHost: 127.0.0.1:{stack.settings.api.port}\r\n"
        f"X-Hub-Signature-256: {signature}\r\nContent-Length: 1000\r\n{headers}\r\n{{".encode()
    )
    await writer.drain()
    await asyncio.sleep(0.1)
    writer.close()


@pytest.mark.parametrize("log_format", ["json", "console"])
async def test_a_500_and_an_incomplete_callback_log_no_key_and_no_message(
    stack: Stack, log_format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, token = await stack.database.write(
        keys.create, tenant_id="default", admin=True, name="", now=now()
    )
    headers = {"Authorization": f"Bearer {token}"}
    to = fresh_recipient()

    async def fails(*args: Any) -> NoReturn:
        held = {"authorization": token, "text": SECRET}
        raise ValueError(f"cannot do it with {held}")

    try:
        with logged(log_format, monkeypatch) as output:
            monkeypatch.setattr(Acceptor, "accept", fails)
            body = {**EXAMPLE, "to": to, "metadata": {"note": SECRET}}
            answer = await stack.api.post("/api/v1/queue/send", json=body, headers=headers)
            await send_incomplete(stack, f"Authorization: Bearer {token}\r\n")
            await stack.api.get("/health/live")
            await eventually(lambda: asyncio.sleep(0, "unexpected error" in output.getvalue()))
    finally:
        await stack.database.write(keys.revoke, key.id, now())
    assert answer.status_code == 500
    log = output.getvalue()
    for secret in (
        token,
        token.split("_", 2)[2][:20],
        SECRET,
        SECRET[:12],
        to,
        "app-secret",
        "verify-me",
    ):
        assert secret not in log, secret
    assert "in fails" in log, "the traceback itself is logged"
    assert "ValueError" in log
    assert "ClientDisconnect" not in log
    if log_format == "json":
        lines = [json.loads(line) for line in log.splitlines()]
        (found,) = [line for line in lines if line["event"] == "unexpected error"]
        assert found["exception"].startswith("Traceback (most recent call last):\n")


class Body(BaseModel):
    count: int


def pydantic_error() -> Exception:
    try:
        Body.model_validate({"count": SECRET})
    except ValidationError as error:
        return error
    raise AssertionError


def database_error() -> Exception:
    database = Database("sqlite://", threads=1)
    try:
        database.read_now(lambda session: session.execute(text("SELECT x(:a)"), {"a": SECRET}))
    except DBAPIError as error:
        return error
    finally:
        database.close()
    raise AssertionError


def chained_error() -> Exception:
    try:
        try:
            {}[SECRET]
        except KeyError as error:
            raise RuntimeError("no such thing") from error
    except RuntimeError as error:
        return error
    raise AssertionError


def grouped_error() -> Exception:
    return ExceptionGroup(
        "two", [UnicodeDecodeError("utf-8", SECRET.encode(), 0, 1, SECRET), KeyError(SECRET)]
    )


@pytest.mark.parametrize("log_format", ["json", "console"])
@pytest.mark.parametrize(
    ("make", "kept"),
    [
        (pydantic_error, "ValidationError"),
        (database_error, "OperationalError: OperationalError SQLITE_ERROR"),
        (chained_error, "RuntimeError: no such thing"),
        (grouped_error, "UnicodeDecodeError"),
    ],
)
def test_error_texts_that_quote_user_data_are_not_logged(
    make: Any, kept: str, log_format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with logged(log_format, monkeypatch) as output:
        error = make()
        structlog.get_logger().error("ours", exc_info=error)
        logging.getLogger("uvicorn.error").error("theirs\n", exc_info=error)
        sys.excepthook(type(error), error, error.__traceback__)
    log = output.getvalue()
    assert log.count(kept) == 3
    assert SECRET not in log
    assert SECRET not in str(error) or make is not database_error, (
        "not even in the error's own text"
    )


async def test_an_unawaited_tasks_error_is_logged_without_its_repr(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def fails() -> None:
        raise KeyError(SECRET)

    with logged("json", monkeypatch) as output:
        task = asyncio.create_task(fails(), name=SECRET)
        while not task.done():
            await asyncio.sleep(0)
        del task
        await asyncio.sleep(0)
    (line,) = [json.loads(line) for line in output.getvalue().splitlines()]
    assert line["event"] == "Task exception was never retrieved"
    assert "KeyError" in line["exception"]
    assert SECRET not in output.getvalue()
