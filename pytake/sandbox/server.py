"""Runs the sandbox: uvicorn, with access to the connection, so that faults can break it, and with the
time at which each request reached this machine.
"""

import asyncio
import socket
import struct
import time
from typing import Any, Final

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from pytake.callback.parse import CALLBACK_PATH
from pytake.process.local_requests import LocalOnly
from pytake.sandbox.app import create_sandbox
from pytake.sandbox.callbacks import CallbackSender
from pytake.sandbox.routes.sending import ARRIVED, TRANSPORT
from pytake.sandbox.state import Limits, SandboxState
from pytake.settings import Settings
from pytake.whatsapp.limits import meta_name

_HOST: Final = "127.0.0.1"


class _Protocol(HttpToolsProtocol):
    def on_message_begin(self) -> None:
        super().on_message_begin()
        extensions: dict[str, Any] = {TRANSPORT: self.transport, ARRIVED: _arrived(self.transport)}
        self.scope["extensions"] = extensions


_LAST_DATA_RECEIVED: Final = 8 + 11 * 4
"""Offset of ``tcpi_last_data_recv`` in Linux' ``struct tcp_info``: milliseconds since the kernel got
the connection's newest data (include/uapi/linux/tcp.h)."""

_READINGS: Final = 5
_AT_ONCE: Final = 0.001
"""Most seconds between reading the clock and reading the kernel's value."""


def _arrived(transport: asyncio.BaseTransport | None) -> float:
    """When the request arrived at the socket, in Unix seconds, even if this process read it later (busy,
    or waiting for a CPU). Accurate to a kernel tick (4 ms); on systems other than Linux, now.
    """
    now = time.time()
    sock: socket.socket | None = transport.get_extra_info("socket") if transport else None
    if sock is None or not hasattr(socket, "TCP_INFO"):
        return now
    for _ in range(_READINGS):
        now = time.time()
        try:
            info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LAST_DATA_RECEIVED + 4)
        except OSError:
            return now
        if time.time() - now < _AT_ONCE:
            break  # otherwise this process lost the CPU in between, and the two values do not match
    if len(info) < _LAST_DATA_RECEIVED + 4:
        return now
    milliseconds: int = struct.unpack_from("I", info, _LAST_DATA_RECEIVED)[0]
    return now - milliseconds / 1000


def build_server(settings: Settings, *, seed: int | None = None) -> uvicorn.Server:
    """The sandbox on ``sandbox_port``, with its journal in the data directory."""
    url = settings.sandbox.callback_url or f"http://127.0.0.1:{settings.api.port}{CALLBACK_PATH}"
    standard = settings.whatsapp.messages_per_second <= 80
    state = SandboxState(
        settings.storage.data_dir / "sandbox.jsonl",
        Limits(throughput=80.0 if standard else 1000.0),
        account=settings.whatsapp.business_account_id,
        default_number=settings.whatsapp.phone_number_id,
        tier=meta_name(settings.whatsapp.tier),
    )
    callbacks = CallbackSender(state, url, settings.whatsapp.signature_key)
    app = create_sandbox(state, callbacks, seed)
    return uvicorn.Server(
        uvicorn.Config(
            LocalOnly(app, _HOST),
            host=_HOST,
            port=settings.sandbox.port,
            http=_Protocol,
            log_config=None,
            access_log=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=3,
            headers=[("X-Content-Type-Options", "nosniff")],
        )
    )
