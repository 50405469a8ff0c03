"""The slots of this worker's deliveries, and a short wait for one that is about to become free."""

import asyncio
import time
from collections import Counter
from datetime import datetime
from typing import Final

from pytake.webhooks.contracts import DeliveryWait
from pytake.webhooks.slots import Slot, SlotLimits, Slots

_PATIENCE: Final = 1.0
"""Seconds that a delivery waits here; then it is retried, which costs more but holds no activity slot."""


class Turns:
    """Slots, with a bounded number of deliveries waiting for one."""

    def __init__(self, limits: SlotLimits) -> None:
        self._slots = Slots(limits)
        self._room = waiting_room(limits)
        self._waiting: Counter[tuple[str, str]] = Counter()
        self._freed = asyncio.Event()

    async def take(self, tenant: str, endpoint: str, version: datetime) -> Slot | DeliveryWait:
        """Take a slot (to be given back), waiting up to a second; or return why there is none."""
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
    """The most deliveries that may wait for a slot in a worker."""
    return max(limits.total // 2, 4)


def activity_slots(limits: SlotLimits) -> int:
    """Concurrent activities: requests, deliveries waiting for a slot, and some to be refused at once."""
    return limits.total + waiting_room(limits) + max(limits.total // 4, 4)
