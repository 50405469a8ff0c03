"""DNS lookups of tenant-chosen names, in a separate thread pool.

``getaddrinfo`` cannot be cancelled: a name whose DNS server does not answer blocks its thread for as long
as the system's resolver tries (10 s and more). uvloop has four such threads for all lookups, including
Meta's. So tenants' names never use the event loop's resolver; here lookups are limited in number, in time,
by owner and by whether the name has resolved before, and failures are cached.
"""

import asyncio
import ipaddress
import socket
import time
from collections import Counter, OrderedDict
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, TypeVar

T = TypeVar("T")

_REMEMBERED: Final = 10_000
"""Most names kept in each cache."""
_SILENT: Final = 30.0
"""Seconds before a name is looked up again after its DNS server did not answer."""
_UNKNOWN: Final = 10.0
"""Seconds before a name is looked up again after it was not found."""
_STALE: Final = 3600.0
"""Seconds for which the last addresses of a name may be used when a lookup gets no answer (RFC 8767).
They are checked on every connection like fresh ones.
"""
_ADDRESSES: Final = 16
"""Most addresses used per name."""


class ResolutionError(Exception):
    """The name has no addresses, or its DNS server did not answer; the text says which."""


class ResolverBusyError(Exception):
    """All threads that this lookup may use are busy; nothing was looked up."""


@dataclass(frozen=True, slots=True)
class ResolverLimits:
    """Concurrent lookups in all and per owner; seconds to wait for a result (``timeout``) and for a thread
    (``patience``).
    """

    threads: int = 64
    per_owner: int = 4
    timeout: float = 5.0
    patience: float = 1.0

    @property
    def for_the_unproven(self) -> int:
        """Threads for names that did not resolve last time, or not yet; the rest are out of reach of names
        that never answer.
        """
        return max(self.threads * 3 // 4, 1)


class Resolver:
    """Resolves names; concurrent requests for a name share one lookup."""

    def __init__(self, limits: ResolverLimits | None = None) -> None:
        self._limits = limits or ResolverLimits()
        self._executor = ThreadPoolExecutor(self._limits.threads, thread_name_prefix="resolver")
        self._running: dict[str, asyncio.Task[list[str]]] = {}
        self._owners: Counter[str] = Counter()
        self._unproven = 0
        self._freed = asyncio.Event()
        self._found: OrderedDict[str, tuple[float, list[str]]] = OrderedDict()
        self._failed: OrderedDict[str, tuple[float, str]] = OrderedDict()

    def close(self) -> None:
        """Shut down the thread pool without waiting for running lookups."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def addresses(self, host: str, owner: str) -> list[str]:
        """The addresses of ``host``, for a request of ``owner``.

        Raises:
            ResolutionError: it has none, or its DNS server did not answer in time.
            ResolverBusyError: no thread became free in time.
        """
        with suppress(ValueError):
            return [str(ipaddress.ip_address(host))]
        failed = self._failed.get(host)
        if failed is not None and failed[0] > time.monotonic():
            return self._stale(host, failed[1])
        task = await self._begun(host, owner)
        if task is None:
            with suppress(ResolutionError):
                return self._stale(host, "")
            raise ResolverBusyError(f"no look-up of {host} could be begun")
        done, _ = await asyncio.wait({task}, timeout=self._limits.timeout)
        return task.result() if done else self._stale(host, self._silent(host))

    async def _begun(self, host: str, owner: str) -> asyncio.Task[list[str]] | None:
        """The running lookup of a host, started once a thread is free; ``None`` if none is in time."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._limits.patience
        while True:
            running = self._running.get(host)
            if running is not None:
                return running
            proven = host in self._found and host not in self._failed
            if self._room(owner, proven=proven):
                self._owners[owner] += 1
                self._unproven += not proven
                task = asyncio.create_task(self._look_up(host, owner, proven=proven))
                task.add_done_callback(lambda done: done.cancelled() or done.exception())
                self._running[host] = task
                loop.call_later(self._limits.timeout, self._overdue, host, task)
                return task
            self._freed.clear()
            try:
                async with asyncio.timeout_at(deadline):
                    await self._freed.wait()
            except TimeoutError:
                return None

    def _overdue(self, host: str, task: asyncio.Task[list[str]]) -> None:
        """Mark a lookup that has timed out as failed, although its thread is still busy."""
        if not task.done():
            self._fail(host, _SILENT, self._silent(host))

    def _silent(self, host: str) -> str:
        return f"{host} cannot be resolved: no answer within {self._limits.timeout:g} s"

    def _room(self, owner: str, *, proven: bool) -> bool:
        """Whether this lookup may use a free thread; an owner's share shrinks with the free threads."""
        free = self._limits.threads - len(self._running)
        if not proven:
            free = min(free, self._limits.for_the_unproven - self._unproven)
        share = min(self._limits.per_owner, max(free // 4, 1))
        return free > 0 and self._owners.get(owner, 0) < share

    async def _look_up(self, host: str, owner: str, *, proven: bool) -> list[str]:
        loop = asyncio.get_running_loop()
        try:
            found = await loop.run_in_executor(self._executor, _getaddrinfo, host)
        except socket.gaierror as error:
            silent = error.errno in (socket.EAI_AGAIN, socket.EAI_FAIL)
            text = f"{host} cannot be resolved{': its DNS server fails' if silent else ''}"
            self._fail(host, _SILENT if silent else _UNKNOWN, text)
            if silent:
                return self._stale(host, text)
            self._found.pop(host, None)
            raise ResolutionError(text) from error
        except (OSError, UnicodeError) as error:
            raise ResolutionError(f"{host} cannot be resolved") from error
        finally:
            del self._running[host]
            self._owners[owner] -= 1
            if not self._owners[owner]:
                del self._owners[owner]
            self._unproven -= not proven
            self._freed.set()
        self._failed.pop(host, None)
        _remember(self._found, host, (time.monotonic(), found))
        return found

    def _fail(self, host: str, seconds: float, text: str) -> None:
        _remember(self._failed, host, (time.monotonic() + seconds, text))

    def _stale(self, host: str, text: str) -> list[str]:
        """The host's last addresses, in place of a failed lookup.

        Raises:
            ResolutionError: there are none, or they are too old.
        """
        at, addresses = self._found.get(host, (0.0, []))
        if addresses and time.monotonic() - at < _STALE:
            return addresses
        raise ResolutionError(text)


def _getaddrinfo(host: str) -> list[str]:
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(item[4][0]) for item in found))[:_ADDRESSES]


def _remember(memory: OrderedDict[str, T], host: str, value: T) -> None:
    memory[host] = value
    memory.move_to_end(host)
    if len(memory) > _REMEMBERED:
        memory.popitem(last=False)
