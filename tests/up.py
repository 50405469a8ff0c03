"""``pytake up`` as its users run it, on ports and a data directory of its own."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import httpx

from tests.stack import eventually, free_port, http


class Up:
    """A ``pytake up`` on ports and a data directory of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port, self.sandbox_port = free_port(), free_port()
        self.temporal_port = free_port()
        self.arguments = [
            "--data-dir",
            str(directory / "data"),
            "--port",
            str(self.port),
            "--sandbox-port",
            str(self.sandbox_port),
            "--temporal-port",
            str(self.temporal_port),
            "--temporal-ui-port",
            str(free_port()),
        ]
        self.environment = {
            **{
                k: v
                for k, v in os.environ.items()
                if not k.startswith(("WHATSAPP_", "PYTAKE_", "TEMPORAL_"))
            },
            "WHATSAPP_TIMEOUT_SECONDS": "3",
            "PYTAKE_RECEIPT_WAIT_SECONDS": "3",
            "PYTAKE_METRICS_PORT": str(free_port()),
        }
        self.process: subprocess.Popen[bytes] | None = None
        self.log = directory / "up.log"

    @contextmanager
    def running(self) -> Iterator[None]:
        self.start()
        try:
            yield
        finally:
            assert self.process is not None
            if self.process.poll() is None:
                self.process.send_signal(signal.SIGINT)
            self.process.wait(60)

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "pytake.cli", "up", *self.arguments],
                cwd=self.directory,
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def children(self) -> dict[str, int]:
        """Part -> pid."""
        assert self.process is not None
        found = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rpartition(")")[2].split()
                command = (stat.parent / "cmdline").read_text().split("\0")
            except OSError:
                continue
            if int(fields[1]) == self.process.pid:
                found["temporal" if "server" in command else command[3]] = int(stat.parent.name)
        return found

    def kill_all(self) -> None:
        assert self.process is not None
        pids = list(self.children().values())
        for pid in (self.process.pid, *pids):
            os.kill(pid, signal.SIGKILL)
        self.process.wait()
        for pid in pids:
            while (
                Path(f"/proc/{pid}").exists() and " Z " not in Path(f"/proc/{pid}/stat").read_text()
            ):
                time.sleep(0.05)

    @asynccontextmanager
    async def clients(self) -> AsyncIterator[tuple[httpx.AsyncClient, httpx.AsyncClient]]:
        async with (
            http(f"http://127.0.0.1:{self.port}") as api,
            http(f"http://127.0.0.1:{self.sandbox_port}") as sandbox,
        ):

            async def ready() -> bool:
                try:
                    return (await api.get("/health/ready")).status_code == 200 and (
                        await sandbox.get("/sandbox/stats")
                    ).status_code == 200
                except httpx.HTTPError:
                    return False

            await eventually(ready, 90, lambda: self.log.read_text()[-3000:])
            yield api, sandbox
