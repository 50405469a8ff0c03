"""``pytake up``: starts all parts, keeps them running, stops them cleanly."""

import asyncio
import ctypes
import os
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx
from rich.console import Console
from rich.text import Text
from temporalio.client import Client
from temporalio.service import RPCError

from pytake.access.keyless import check_keys
from pytake.cookies import NoCookies
from pytake.database.engine import Database
from pytake.process.data_dir import AlreadyRunningError, UpLock
from pytake.settings import SANDBOX_TOKEN, ConfigurationError, Settings
from pytake.temporal import client as temporal
from pytake.temporal import embedded as embedded_temporal

_BACKOFF: Final = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds to wait before each restart of a part that keeps dying."""
_STABLE_SECONDS: Final = 30.0
"""A part that ran for longer than this starts over with the shortest wait."""
_STOP_SECONDS: Final = 40.0
"""How long a part may take to stop before it is killed."""
_COLOURS: Final = {"temporal": "magenta", "sandbox": "cyan", "worker": "green", "api": "blue"}
_PR_SET_PDEATHSIG: Final = 1
_EXAMPLE: Final = (
    '{"to":"5561994013828","message_type":"template","content":'
    '{"name":"pytake_saudacao","language":"pt_BR"},"priority":"High","max_attempts":5}'
)


class UpError(Exception):
    """``up`` cannot start or continue; the text, one or a few lines, says why."""


@dataclass(frozen=True, slots=True)
class UpOptions:
    """Where the parts listen and keep their state."""

    data_dir: Path
    host: str
    port: int
    temporal_port: int
    temporal_ui_port: int
    sandbox_port: int
    sandbox: bool


@dataclass(slots=True)
class _Part:
    name: str
    command: list[str]
    environment: dict[str, str]
    process: asyncio.subprocess.Process | None = None
    tail: deque[str] = field(default_factory=lambda: deque(maxlen=15))


class Supervisor:
    """Runs the parts as child processes, with prefixed logs, until a signal or a failure."""

    def __init__(self, options: UpOptions, settings: Settings) -> None:
        self._options = options
        self._settings = settings
        self._console = Console(highlight=False, soft_wrap=True)
        self._stop = asyncio.Event()
        self._failed: str | None = None
        self._lock_descriptors: tuple[int, ...] = ()

    async def run(self) -> None:
        """Run until Ctrl-C or SIGTERM.

        Raises:
            UpError: another ``up`` uses the data directory, a port is in use, a key is missing, or a part
                keeps dying.
        """
        self._options.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = UpLock(self._options.data_dir)
        try:
            await lock.acquire(f"http://{_reachable(self._options.host)}:{self._options.port}")
        except AlreadyRunningError as error:
            raise UpError(str(error)) from None
        self._lock_descriptors = (lock.descriptor,)
        self._check_ports()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop.set)
        Database(self._settings.storage.sqlalchemy_url, threads=1).migrate()
        parts = self._parts(keyless=self._check_keys())
        tasks: list[asyncio.Task[None]] = []
        try:
            tasks.append(self._start(parts["temporal"]))
            await self._ready("temporal", self._temporal_answers)
            tasks += [self._start(part) for part in parts.values() if part.name != "temporal"]
            await self._ready("api", self._api_answers)
            if not self._stop.is_set():
                self._banner()
            await self._stop.wait()
        finally:
            self._stop.set()
            await self._shut_down(parts, tasks)
        if self._failed:
            raise UpError(self._failed)

    def _check_ports(self) -> None:
        options = self._options
        wanted = {
            "--port": (options.host, options.port),
            "--temporal-port": ("127.0.0.1", options.temporal_port),
            "--temporal-ui-port": ("127.0.0.1", options.temporal_ui_port),
        }
        if options.sandbox:
            wanted["--sandbox-port"] = ("127.0.0.1", options.sandbox_port)
        if len({port for _, port in wanted.values()}) < len(wanted):
            raise UpError("two parts cannot share a port: give each of them its own")
        for option, (host, port) in wanted.items():
            with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind((host, port))
                except OSError as error:
                    raise UpError(
                        f"port {port} on {host} cannot be used ({error.strerror}): is PyTake running "
                        f"already? Otherwise choose another with {option}"
                    ) from None

    def _check_keys(self) -> bool:
        """Whether the API serves without keys: allowed on loopback, unless the settings forbid it."""
        api = self._settings.api
        allowed = api.model_copy(update={"keyless": api.keyless is not False})
        try:
            return check_keys(allowed, self._settings.storage)
        except ConfigurationError as error:
            raise UpError(f"configuration: {error}") from None

    def _parts(self, *, keyless: bool) -> dict[str, _Part]:
        options = self._options
        environment = {
            **os.environ,
            "PYTHONUNBUFFERED": "1",
            "PYTAKE_DATA_DIR": str(options.data_dir),
            "PYTAKE_HOST": options.host,
            "PYTAKE_PORT": str(options.port),
            "PYTAKE_KEYLESS": "true" if keyless else "false",
            "PYTAKE_SANDBOX_PORT": str(options.sandbox_port),
            "PYTAKE_TEMPORAL_UI_URL": f"http://127.0.0.1:{options.temporal_ui_port}",
            "TEMPORAL_ADDRESS": f"127.0.0.1:{options.temporal_port}",
            "TEMPORAL_NAMESPACE": "default",
            "PYTAKE_SANDBOX": "true" if options.sandbox else "false",
        }
        if options.sandbox:
            environment["WHATSAPP_API_BASE_URL"] = f"http://127.0.0.1:{options.sandbox_port}"
            environment.setdefault("WHATSAPP_ACCESS_TOKEN", SANDBOX_TOKEN)
        server = embedded_temporal.command(
            options.data_dir / "temporal.db",
            port=options.temporal_port,
            ui_port=options.temporal_ui_port,
            codec_endpoint=f"http://{_reachable(options.host)}:{options.port}/api/v1/codec"
            if self._settings.storage.encrypts_payloads
            else None,
        )
        own = [sys.executable, "-m", "pytake.cli"]
        parts = {"temporal": _Part("temporal", server, environment)}
        if options.sandbox:
            parts["sandbox"] = _Part("sandbox", [*own, "sandbox"], environment)
        parts["worker"] = _Part("worker", [*own, "worker"], environment)
        parts["api"] = _Part("api", [*own, "api"], environment)
        return parts

    def _start(self, part: _Part) -> asyncio.Task[None]:
        return asyncio.create_task(self._keep_running(part), name=part.name)

    async def _keep_running(self, part: _Part) -> None:
        """Start the part; restart it with back-off when it dies; give up if it keeps dying."""
        failures = 0
        while not self._stop.is_set():
            started = time.monotonic()
            part.process = await asyncio.create_subprocess_exec(
                *part.command,
                env=part.environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
                pass_fds=self._lock_descriptors if part.name == "temporal" else (),
                preexec_fn=_die_with_parent,
            )
            await self._copy_output(part)
            code = await part.process.wait()
            if self._stop.is_set():
                return
            failures = 1 if time.monotonic() - started > _STABLE_SECONDS else failures + 1
            if failures > len(_BACKOFF):
                last = "\n".join(f"  {line}" for line in part.tail)
                self._failed = (
                    f"{part.name} keeps dying (exit code {code}); its last lines:\n{last}"
                )
                self._stop.set()
                return
            wait = _BACKOFF[failures - 1]
            self._say(part.name, f"died (exit code {code}); restarting it in {wait:g} s")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), wait)

    async def _copy_output(self, part: _Part) -> None:
        assert part.process is not None  # noqa: S101 - started by the only caller
        assert part.process.stdout is not None  # noqa: S101 - a pipe was asked for
        while line := await part.process.stdout.readline():
            text = line.decode("utf-8", "replace").rstrip()
            part.tail.append(text)
            self._say(part.name, text)

    def _say(self, name: str, text: str) -> None:
        line = Text(f"{name:>8} | ", style=_COLOURS.get(name, ""))
        line.append_text(Text.from_ansi(text))
        self._console.print(line)

    async def _ready(self, name: str, answers: Callable[[], Awaitable[bool]]) -> None:
        deadline = time.monotonic() + 90
        while not self._stop.is_set() and not await answers():
            if time.monotonic() > deadline:
                raise UpError(f"{name} did not become ready within 90 s: see its output above")
            await asyncio.sleep(0.2)

    async def _temporal_answers(self) -> bool:
        target = f"127.0.0.1:{self._options.temporal_port}"
        try:
            client = await Client.connect(target)
            await temporal.ensure_search_attributes(client)
            await temporal.ensure_rate_limits(client)
        except (RuntimeError, RPCError):
            return False
        return True

    async def _api_answers(self) -> bool:
        url = f"http://{_reachable(self._options.host)}:{self._options.port}/health/ready"
        try:
            async with httpx.AsyncClient(cookies=NoCookies(), trust_env=False, timeout=3) as client:
                return (await client.get(url)).status_code == 200
        except httpx.HTTPError:
            return False

    def _banner(self) -> None:
        options = self._options
        base = f"http://{_reachable(options.host)}:{options.port}"
        lines = [
            "",
            "PyTake is up. Stop it with Ctrl-C.",
            f"  API              {base}/api/v1",
            f"  API docs         {base}/docs",
            f"  Temporal Web UI  http://127.0.0.1:{options.temporal_ui_port}",
            f"  Sandbox          http://127.0.0.1:{options.sandbox_port}/sandbox/docs"
            if options.sandbox
            else f"  WhatsApp         {self._settings.whatsapp.api_base_url}",
            "",
            "Try it:",
            f"  curl -X POST {base}/api/v1/queue/send -H 'Content-Type: application/json' \\",
            f"    -d '{_EXAMPLE}'",
            "",
        ]
        for line in lines:
            self._console.print(Text(line))

    async def _shut_down(self, parts: dict[str, _Part], tasks: list[asyncio.Task[None]]) -> None:
        """Send SIGTERM to the API first, so that nothing new comes in; to Temporal last."""
        for name in ("api", "worker", "sandbox", "temporal"):
            part = parts.get(name)
            process = part.process if part else None
            if process is None or process.returncode is not None:
                continue
            with suppress(ProcessLookupError):
                process.terminate()
            try:
                await asyncio.wait_for(process.wait(), _STOP_SECONDS)
            except TimeoutError:
                self._say(name, "did not stop in time: killed")
                process.kill()
                await process.wait()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._console.print("PyTake is down; its state is in", str(self._options.data_dir))


def _reachable(host: str) -> str:
    return "127.0.0.1" if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host  # noqa: S104 - compared, not bound


def _die_with_parent() -> None:
    """On Linux, have the child get SIGTERM when ``up`` is killed, so that no port stays in use."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
