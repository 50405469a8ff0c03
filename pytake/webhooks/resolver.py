"""Addresses of names that strangers chose, looked up in threads of their own.

``getaddrinfo`` cannot be cancelled: a name whose DNS server does not answer holds its thread for as long
as the system's resolver tries (10 s and more). uvloop has four such threads for everything, Meta's
name included. So names of tenants never reach the event loop's own look-up; here they are bounded in
number, in time, by owner and by whether the name has ever been found, and a failure is remembered.
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
"""Names, at most, of each kind of memory."""
_SILENT: Final = 30.0
"""Seconds for which a name is not looked up again after nobody answered."""
_UNKNOWN: Final = 10.0
"""Seconds for which a name is not looked up again after the answer was that it is not there."""
_STALE: Final = 3600.0
"""Seconds for which the last addresses of a name may stand in for an answer that does not come
(RFC 8767). They are checked at every connection like new ones.
"""
_ADDRESSES: Final = 16
"""Of one name, at most."""


class ResolutionError(Exception):
    """The name has no addresses, or nobody answered; the text says which."""


class ResolverBusyError(Exception):
    """The threads that this look-up may use are all waiting for others: nothing was asked."""


@dataclass(frozen=True, slots=True)
class ResolverLimits:
    """How many look-ups at once; how long one is waited for, and how long it waits for a thread (in
    seconds).
    """

    threads: int = 64
    per_owner: int = 4
    timeout: float = 5.0
    patience: float = 1.0

    @property
    def for_the_unproven(self) -> int:
        """Threads for names that were not found before, or not the last time: the others' are safe
        from names that never answer.
        """
        return max(self.threads * 3 // 4, 1)


class Resolver:
    """Looks names up; one look-up of a name at a time, whoever asks."""

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
        """Let go of the threads; those that still wait for an answer end with it."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def addresses(self, host: str, owner: str) -> list[str]:
        """The addresses of ``host``, for a request of ``owner``.

        Raises:
            ResolutionError: it has none, or nobody answered in time.
            ResolverBusyError: there was no thread for it in time.
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
        """The look-up of the host, once there is a thread for it; ``None`` if there is none in time."""
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
        """Nobody waits for this look-up any more, but its thread does."""
        if not task.done():
            self._fail(host, _SILENT, self._silent(host))

    def _silent(self, host: str) -> str:
        return f"{host} cannot be resolved: no answer within {self._limits.timeout:g} s"

    def _room(self, owner: str, *, proven: bool) -> bool:
        """Whether a thread is free that this look-up may use: an owner's share shrinks with the rest."""
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
        """The host's last addresses, instead of a failure.

        Raises:
            ResolutionError: there are none that are young enough.
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
