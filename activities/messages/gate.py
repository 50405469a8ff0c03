"""The gate as this process sees it: concurrent requests share one transaction, and calls keep to the
process's part of each number's rate.
"""

import time
from dataclasses import replace
from datetime import timedelta
from typing import Final
from uuid import uuid4

from pytake.clock import now
from pytake.contacts.identities import contact_key
from pytake.database.engine import UNAVAILABLE, Database
from pytake.database.group_commit import Batcher
from pytake.messages import gate as admission
from pytake.messages.content import is_free_form
from pytake.messages.contracts import SendRequest
from pytake.messages.gate import Admission, Candidate, Process
from pytake.messages.pacing import Passage, SlidingWindow, Slots
from pytake.temporal.priority import PRIORITY_KEY

_LEASE_MARGIN: Final = timedelta(seconds=10)
"""How much longer than the longest call a probe's lease lasts."""


class Gate:
    """Asks the gate, and paces calls as it decided."""

    def __init__(self, database: Database, call_timeout: float) -> None:
        self._database = database
        self._lease = timedelta(seconds=call_timeout) + _LEASE_MARGIN
        self._process = uuid4().hex[:12]
        self._slots = Slots()
        self._window = SlidingWindow()
        self._asking: Batcher[Candidate, Admission] = Batcher(self._admit)

    async def ask(self, wants: Candidate) -> Admission:
        """Whether a message may go, and when; batched with concurrent requests."""
        return await self._asking.submit(wants)

    async def turn(self, request: SendRequest, delay: float) -> None:
        """Contribute a slot of the number that is due in ``delay`` seconds, and wait for one; the most
        urgent message goes first.
        """
        await self._slots.turn(request.phone_number_id, delay, PRIORITY_KEY[request.priority])

    async def enter(self, request: SendRequest) -> Passage | None:
        """Wait until one more call is within this process's part of the rate; ``None`` if it has none."""
        return await self._window.enter(request.phone_number_id, lambda: self._renew_part(request))

    async def _admit(self, batch: list[Candidate]) -> list[Admission]:
        asked, clock = now(), time.monotonic()
        numbers = {wants.phone_number_id for wants in batch}
        process = Process(self._process, {number: self._window.keeps(number) for number in numbers})
        decided = await self._database.write(admission.admit, batch, asked, self._lease, process)
        for wants, decision in zip(batch, decided, strict=True):
            if decision.part is not None:
                shift = clock - asked.timestamp()
                self._window.set_part(wants.phone_number_id, decision.part, shift)
        return decided

    async def _renew_part(self, request: SendRequest) -> bool:
        """Request this process's part of the rate again; false if there is none."""
        wants = replace(candidate(request), counts=False, claim=None, begins=None, has_slot=True)
        try:
            return (await self.ask(wants)).part is not None
        except UNAVAILABLE:
            return False


def claims(request: SendRequest, spent: int) -> bool:
    """Whether an attempt has to claim its message: only the first one. Later ones look for receipts,
    and redrives are told apart by the wamids they supersede.
    """
    return spent == 0 and request.generation == 0


def candidate(
    request: SendRequest, spent: int = 0, *, cleared: bool = False, direct: bool = False
) -> Candidate:
    """The message as the gate sees it."""
    first = claims(request, spent)
    return Candidate(
        request.phone_number_id,
        request.tenant_id,
        contact_key(request.recipient),
        counts=not is_free_form(request.message_type),
        cleared=cleared,
        claim=request.message_id if first else None,
        begins=None if first else request.message_id,
        direct=direct,
    )
