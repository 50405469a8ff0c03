"""The slots of this worker's deliveries, and the short wait for one that is about to be free."""

import asyncio
import time
from collections import Counter
from datetime import datetime
from typing import Final

from pytake.webhooks.contracts import DeliveryWait
from pytake.webhooks.slots import Slot, SlotLimits, Slots

_PATIENCE: Final = 1.0
"""Seconds that a delivery waits here; a timer of its workflow costs more, but holds nothing."""


class Turns:
    """Slots, and a bounded number of deliveries that wait for one."""

    def __init__(self, limits: SlotLimits) -> None:
        self._slots = Slots(limits)
        self._room = waiting_room(limits)
        self._waiting: Counter[tuple[str, str]] = Counter()
        self._freed = asyncio.Event()

    async def take(self, tenant: str, endpoint: str, version: datetime) -> Slot | DeliveryWait:
        """A slot, at once or within a second; to be given back."""
        now = time.monotonic()
        taken = self._slots.take(tenant, endpoint, version, now)
        if taken is not DeliveryWait.BUSY or not self._slots.patient(tenant, endpoint, now):
            return taken
        key = (tenant, endpoint)
        if self._waiting[key] >= (self._room - self._waiting.total()) // 4:
            return taken
        self._waiting[key] += 1
        try:
            async with asyncio.timeout(_PATIENCE):
                while taken is DeliveryWait.BUSY:
                    self._freed.clear()
                    await self._freed.wait()
                    taken = self._slots.take(tenant, endpoint, version, time.monotonic())
        except TimeoutError:
            pass
        finally:
            self._waiting -= Counter([key])
        return taken

    def give_back(self, slot: Slot, *, answered: bool | None) -> None:
        """See :meth:`Slots.give_back`."""
        self._slots.give_back(slot, time.monotonic(), answered=answered)
        self._freed.set()

    def wait(self, tenant: str, endpoint: str, waits: int) -> float:
        """See :meth:`Slots.wait`."""
        return self._slots.wait(tenant, endpoint, waits, time.monotonic())


def waiting_room(limits: SlotLimits) -> int:
    """Deliveries that wait in a worker for a slot, at most."""
    return max(limits.total // 2, 4)


def activity_slots(limits: SlotLimits) -> int:
    """Activities at once: requests, what waits for one, and what is sent back at once."""
    return limits.total + waiting_room(limits) + max(limits.total // 4, 4)
