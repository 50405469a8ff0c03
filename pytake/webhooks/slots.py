"""Who may have a request under way: endpoints that answer are not to wait for endpoints that do not.

A worker has a number of slots. What holds one for long is an endpoint that does not answer, so an endpoint
begins with one slot, gets more with every quick answer, and loses all but one when it lets a request time
out. The fewer slots are free, the smaller everybody's share (as switches share a buffer: Choudhury and
Hahne, "Dynamic queue length thresholds", 1998): the second half of the slots is given out one to an
endpoint, and the last quarter only to endpoints whose last request was answered. An endpoint that lets one request after the other time out is
not called for a while: its breaker is open.
"""

from collections import Counter, OrderedDict
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pytake.webhooks.contracts import DeliveryWait

QUICK: Final = 3.0
"""Seconds: an answer within this earns an endpoint more slots, one after it costs some."""
_HELD: Final = 1.0
"""Seconds: a failure without an answer that took less held nobody up, and changes nothing."""
_SHARE: Final = 8
"""An endpoint's slots are at most this part of those that are free in the first half."""
_TIMEOUTS: Final = 3
"""In a row, until an endpoint's breaker opens."""
_OPEN: Final = 30.0
_OPEN_MOST: Final = 600.0
"""Seconds that a breaker is open: at first, doubled by each time-out after, and at most."""
_FIRST_WAIT: Final = {"proven": 5.0, "unproven": 5.0, "stuck": 30.0}
"""Seconds until a delivery without a slot comes back the first time: coming back costs about as much as a
delivery, and of an endpoint that hangs all its events do.
"""
_REMEMBERED: Final = 10_000
"""Endpoints."""


@dataclass(frozen=True, slots=True)
class SlotLimits:
    """Requests at once in one worker: in all, to one endpoint, and to all of one tenant's endpoints."""

    total: int
    per_endpoint: int
    per_tenant: int

    @property
    def for_the_unproven(self) -> int:
        """Slots for endpoints that have not answered yet, or not the last time."""
        return max(self.total * 3 // 4, 1)


@dataclass(slots=True)
class _Endpoint:
    version: datetime
    limit: int = 1
    running: int = 0
    proven: bool = False
    timeouts: int = 0
    last_timeout: float = float("-inf")
    open_until: float = float("-inf")
    quiet_since: float = float("-inf")
    """When a request began after none, or the last one ended."""

    def stuck(self, now: float) -> bool:
        """Whether it let requests time out, or its requests have not been answered for a while."""
        return self.timeouts > 0 or (self.running > 0 and now - self.quiet_since >= QUICK)


@dataclass(frozen=True, slots=True)
class Slot:
    """One request under way; times are seconds of a clock that never goes back."""

    tenant: str
    endpoint: str
    proven: bool
    began: float


class Slots:
    """The slots of one worker, and what it knows of the endpoints that it has called."""

    def __init__(self, limits: SlotLimits) -> None:
        self._limits = limits
        self._endpoints: OrderedDict[tuple[str, str], _Endpoint] = OrderedDict()
        self._tenants: Counter[str] = Counter()
        self._running = 0
        self._unproven = 0

    def take(
        self, tenant: str, endpoint: str, version: datetime, now: float
    ) -> Slot | DeliveryWait:
        """A slot, to be given back; ``version`` is when the endpoint was last changed by its owner,
        which makes it a new one.
        """
        state = self._state(tenant, endpoint, version)
        if state.open_until > now:
            return DeliveryWait.BREAKER
        limits = self._limits
        free, of_tenant = limits.total - self._running, limits.per_tenant
        if not state.proven:
            free = min(free, limits.for_the_unproven - self._unproven)
            of_tenant = max(of_tenant * 3 // 4, 1)
        share = min(state.limit, max((free - limits.total // 2) // _SHARE, 1))
        if free <= 0 or state.running >= share or self._tenants.get(tenant, 0) >= of_tenant:
            return DeliveryWait.BREAKER if state.timeouts >= _TIMEOUTS else DeliveryWait.BUSY
        if not state.running:
            state.quiet_since = now
        state.running += 1
        self._running += 1
        self._unproven += not state.proven
        self._tenants[tenant] += 1
        return Slot(tenant, endpoint, state.proven, now)

    def give_back(self, slot: Slot, now: float, *, answered: bool | None) -> None:
        """The request is over; ``answered`` is ``None`` if that is nobody's merit or fault."""
        self._running -= 1
        self._unproven -= not slot.proven
        self._tenants[slot.tenant] -= 1
        if not self._tenants[slot.tenant]:
            del self._tenants[slot.tenant]
        state = self._endpoints[slot.tenant, slot.endpoint]
        state.running -= 1
        state.quiet_since = now
        took = now - slot.began
        if answered:
            state.proven = took < QUICK
            state.timeouts, state.open_until = 0, float("-inf")
            grown = min(state.limit * 2, self._limits.per_endpoint)
            state.limit = grown if state.proven else max(state.limit // 2, 1)
        elif answered is False and took >= _HELD:
            state.proven, state.limit = False, 1
            if (
                slot.began >= state.last_timeout
            ):  # those that hung beside it are one time-out with it
                state.timeouts += 1
                state.last_timeout = now
            over = state.timeouts - _TIMEOUTS
            if over >= 0:
                state.open_until = now + min(_OPEN * 2.0 ** min(over, 10), _OPEN_MOST)

    def wait(self, tenant: str, endpoint: str, waits: int, now: float) -> float:
        """Seconds until a delivery that was refused comes back, after so many ``waits`` before.

        About as long as it has waited already: thousands of events of an endpoint that hangs cost
        little, and those of one that recovers are not much later for it.
        """
        state = self._endpoints.get((tenant, endpoint))
        if state is None:
            return _FIRST_WAIT["unproven"]
        kind = "stuck" if state.stuck(now) else "proven" if state.proven else "unproven"
        longest = 60.0 if kind == "proven" else 300.0 if state.timeouts == 0 else 3600.0
        wanted = min(_FIRST_WAIT[kind] * 2.0 ** min(waits, 20), longest)
        return max(wanted, state.open_until - now)

    def patient(self, tenant: str, endpoint: str, now: float) -> bool:
        """Whether a slot of the endpoint may be free again soon."""
        state = self._endpoints.get((tenant, endpoint))
        return state is None or not state.stuck(now)

    def _state(self, tenant: str, endpoint: str, version: datetime) -> _Endpoint:
        key = (tenant, endpoint)
        state = self._endpoints.get(key)
        if state is None:
            state = self._endpoints[key] = _Endpoint(version)
            self._forget()
        elif state.version != version:
            self._endpoints[key] = state = _Endpoint(version, running=state.running)
        self._endpoints.move_to_end(key)
        return state

    def _forget(self) -> None:
        """The endpoint that was called least lately, if there are too many and it has no request."""
        if len(self._endpoints) > _REMEMBERED:
            key, state = next(iter(self._endpoints.items()))
            if not state.running:
                del self._endpoints[key]
