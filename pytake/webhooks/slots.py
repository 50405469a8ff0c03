"""Concurrency slots for requests, so that endpoints that answer never wait for those that do not.

A worker has a fixed number of slots, and endpoints that do not answer hold them for long. So an endpoint
starts with one slot, gets more with every quick answer, and drops to one when a request times out. The
fewer slots are free, the smaller each endpoint's share (as switches share a buffer: Choudhury and Hahne,
"Dynamic queue length thresholds", 1998): the second half of the slots is given out one per endpoint, and
the last quarter only to endpoints whose last request was answered. After several timeouts in a row an
endpoint's circuit breaker opens, and it is not called for a while.
"""

from collections import Counter, OrderedDict
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pytake.backoff import backoff
from pytake.webhooks.contracts import DeliveryWait

QUICK: Final = 3.0
"""Seconds: an answer within this time earns an endpoint more slots; a slower one costs slots."""
_HELD: Final = 1.0
"""Seconds: a failure without an answer that took less than this changes nothing."""
_SHARE: Final = 8
"""An endpoint gets at most 1/8 of the slots that are free in the first half."""
_TIMEOUTS: Final = 3
"""Timeouts in a row before an endpoint's breaker opens."""
_OPEN: Final = 30.0
_OPEN_MOST: Final = 600.0
"""Seconds that a breaker stays open: the first time, doubling with each further timeout, and at most."""
_FIRST_WAIT: Final = {"proven": 5.0, "unproven": 5.0, "stuck": 30.0}
"""Seconds before the first retry of a delivery that got no slot. Longer for endpoints that hang: a retry
costs about as much as a delivery, and all their events would retry.
"""
_REMEMBERED: Final = 10_000
"""Most endpoints to keep state for."""


@dataclass(frozen=True, slots=True)
class SlotLimits:
    """Concurrent requests in one worker: in total, per endpoint, and per tenant."""

    total: int
    per_endpoint: int
    per_tenant: int

    @property
    def for_the_unproven(self) -> int:
        """Slots for endpoints that have not answered yet, or not last time."""
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
    """When the endpoint went from idle to busy, or its latest request ended, whichever is later."""

    def stuck(self, now: float) -> bool:
        """Whether requests timed out, or none of its running requests has ended for a while."""
        return self.timeouts > 0 or (self.running > 0 and now - self.quiet_since >= QUICK)


@dataclass(frozen=True, slots=True)
class Slot:
    """One request under way; times are monotonic seconds."""

    tenant: str
    endpoint: str
    proven: bool
    began: float


class Slots:
    """The slots of one worker, and its record of the endpoints it has called."""

    def __init__(self, limits: SlotLimits) -> None:
        self._limits = limits
        self._endpoints: OrderedDict[tuple[str, str], _Endpoint] = OrderedDict()
        self._tenants: Counter[str] = Counter()
        self._running = 0
        self._unproven = 0

    def take(
        self, tenant: str, endpoint: str, version: datetime, now: float
    ) -> Slot | DeliveryWait:
        """Take a slot (to be given back), or return why there is none. ``version`` is when the endpoint
        was last changed by its owner: a change resets its record.
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
        """Give a slot back after its request; ``answered`` is ``None`` if nothing was sent."""
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
            if slot.began >= state.last_timeout:  # concurrent timeouts count as one
                state.timeouts += 1
                state.last_timeout = now
            over = state.timeouts - _TIMEOUTS
            if over >= 0:
                state.open_until = now + backoff(over + 1, initial=_OPEN, maximum=_OPEN_MOST)

    def wait(self, tenant: str, endpoint: str, waits: int, now: float) -> float:
        """Seconds before a delivery that got no slot tries again, after ``waits`` earlier waits.

        About as long as it has waited so far: retries for an endpoint that hangs stay cheap, and after it
        recovers, deliveries are not much later than necessary.
        """
        state = self._endpoints.get((tenant, endpoint))
        if state is None:
            return _FIRST_WAIT["unproven"]
        kind = "stuck" if state.stuck(now) else "proven" if state.proven else "unproven"
        longest = 60.0 if kind == "proven" else 300.0 if state.timeouts == 0 else 3600.0
        wanted = backoff(waits + 1, initial=_FIRST_WAIT[kind], maximum=longest)
        return max(wanted, state.open_until - now)

    def patient(self, tenant: str, endpoint: str, now: float) -> bool:
        """Whether waiting is worthwhile: a slot of the endpoint may soon be free."""
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
        """Drop the least recently called endpoint if there are too many, unless it has requests."""
        if len(self._endpoints) > _REMEMBERED:
            key, state = next(iter(self._endpoints.items()))
            if not state.running:
                del self._endpoints[key]
