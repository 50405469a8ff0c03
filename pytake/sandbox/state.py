"""What the sandbox has accepted, in a journal, so that like Meta it survives a kill -9."""

import base64
import json
import secrets
import time
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict, deque
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, TextIO

from cachetools import FIFOCache

from pytake.contacts.identities import contact_key
from pytake.sandbox.media import MediaStore
from pytake.sandbox.templates import AT_FIRST
from pytake.sandbox.validation import GraphError
from pytake.whatsapp.limits import PAIR_BURST, PAIR_INTERVAL

STATUSES: Final = ("sent", "delivered", "read")
_KEPT_SECONDS: Final = 10.0
"""How long arrivals are kept: requests are read out of order by at most this."""

_KEPT_NAMES: Final = 10_000
_KEPT_PROFILES: Final = 1_000
_KEPT_NUMBERS: Final = 10_000
_KEPT_PAIRS: Final = 500_000
_KEPT_READS: Final = 100_000
_KEPT_TEMPLATES: Final = 6_000
"""What Meta lets an account have (templates/overview, May 2026)."""


@dataclass(slots=True)
class AcceptedMessage:
    """One message that the sandbox accepted; times in Unix seconds."""

    wamid: str
    to: str
    phone_number_id: str
    received_at: float
    """When the request arrived at the socket."""
    biz_opaque_callback_data: str | None
    payload: dict[str, Any]
    failed_code: int | None = None
    """Set when a ``failed`` status follows instead of the usual ones."""
    unread: bool = False
    """Set when no ``read`` status follows."""
    handled_at: float = 0.0
    """When the message was accepted: after the sandbox's processing and any fault's latency."""

    @property
    def statuses(self) -> tuple[str, ...]:
        """The statuses that follow, in order."""
        if self.failed_code is not None:
            return ("sent", "failed")
        return STATUSES[:-1] if self.unread else STATUSES


@dataclass(slots=True)
class Limits:
    """What the sandbox enforces."""

    throughput: float = 80.0
    """Messages per second and number."""
    pair_limit: bool = True
    customer_service_window: bool = False
    status_delays: dict[str, float] = field(
        default_factory=lambda: {"sent": 0.2, "delivered": 0.8, "read": 1.6, "failed": 0.5}
    )


class SandboxState:
    """Accepted messages, counters and limits; every acceptance is written to the journal first."""

    def __init__(
        self,
        journal: Path | None,
        limits: Limits | None = None,
        *,
        account: str = "1",
        default_number: str = "1",
        tier: str = "TIER_250",
    ) -> None:
        self.account = account
        """The WhatsApp Business account that has the numbers."""
        self.default_number = default_number
        self.tier = tier
        self.limits = limits or Limits()
        self.messages: list[AcceptedMessage] = []
        self.rejected: Counter[int] = Counter()
        self.media = MediaStore()
        self.acknowledged: dict[str, set[str]] = defaultdict(set)
        self.last_inbound: FIFOCache[tuple[str, str], float] = FIFOCache(_KEPT_PAIRS)
        self.names: FIFOCache[str, str] = FIFOCache(_KEPT_NAMES)
        """Names of contacts that wrote, by user id."""
        self.numbers: FIFOCache[str, dict[str, Any]] = FIFOCache(_KEPT_NUMBERS)
        """Fields of phone numbers set through the control API."""
        self.profiles: FIFOCache[str, dict[str, Any]] = FIFOCache(_KEPT_PROFILES)
        """Fields of business profiles that were written."""
        self.management: dict[str, float] = {}
        """What ``X-Business-Use-Case-Usage`` reports, and whether the management calls answer."""
        self.reads: deque[dict[str, Any]] = deque(maxlen=_KEPT_READS)
        """Messages of contacts that were marked as read, in order."""
        self.templates: FIFOCache[str, dict[str, Any]] = FIFOCache(_KEPT_TEMPLATES)
        self.templates.update({t["name"]: dict(t) for t in AT_FIRST})
        self._arrivals: FIFOCache[str, list[float]] = FIFOCache(_KEPT_NUMBERS)
        self._peaks: FIFOCache[str, int] = FIFOCache(_KEPT_NUMBERS)
        self._pair_debt: FIFOCache[tuple[str, str], float] = FIFOCache(_KEPT_PAIRS)
        self._path = journal
        self._journal: TextIO | None = None
        if journal is not None:
            journal.parent.mkdir(parents=True, exist_ok=True)
            self._replay(journal)
            self._journal = journal.open("a", encoding="utf-8")

    @property
    def called(self) -> list[str]:
        """The numbers from which messages were sent."""
        return list(self._peaks)

    def arrive(self, phone_number_id: str, at: float) -> None:
        """Count a call that arrived at ``at``, whatever its outcome, in a sliding second by arrival time, for
        the peak and the throughput.

        Raises:
            GraphError: 130429; such a call counts for the peak only.
        """
        arrivals = self._arrivals.get(phone_number_id, [])
        self._arrivals[phone_number_id] = arrivals
        del arrivals[: bisect_right(arrivals, at - _KEPT_SECONDS)]
        place = bisect_right(arrivals, at)
        arrivals.insert(place, at)
        # A call that is read late may be earlier than others: it counts in their seconds too.
        ends = arrivals[place : bisect_left(arrivals, at + 1)]
        most = max(place + i + 1 - bisect_right(arrivals, end - 1) for i, end in enumerate(ends))
        self._peaks[phone_number_id] = max(self._peaks.get(phone_number_id, 0), most)
        if place + 1 - bisect_right(arrivals, at - 1) > self.limits.throughput:
            del arrivals[place]
            raise GraphError(130429, "Rate limit hit", "throughput exceeded", 429)

    def admit(self, phone_number_id: str, to: str, free_form: bool, now: float) -> None:
        """Check the other limits for a message that arrived at ``now``.

        Raises:
            GraphError: 131056 or 131047.
        """
        pair = (phone_number_id, contact_key(to))
        silence = now - self.last_inbound.get(pair, 0.0)
        if self.limits.customer_service_window and free_form and silence > 24 * 3600:
            raise GraphError(131047, "Re-engagement message", "more than 24 hours have passed")
        interval = PAIR_INTERVAL.total_seconds()
        free_at = max(self._pair_debt.get(pair, 0.0), now)
        if self.limits.pair_limit and free_at - now > interval * (PAIR_BURST - 1):
            raise GraphError(131056, "Pair rate limit hit", "too many messages to this user")
        self._pair_debt[pair] = free_at + interval

    def accept(
        self,
        phone_number_id: str,
        to: str,
        payload: dict[str, Any],
        arrived: float,
        failed_code: int | None,
        *,
        unread: bool = False,
    ) -> AcceptedMessage:
        """Accept a message, durably."""
        message = AcceptedMessage(
            wamid=new_wamid(),
            to=to,
            phone_number_id=phone_number_id,
            received_at=arrived,
            handled_at=time.time(),
            biz_opaque_callback_data=payload.get("biz_opaque_callback_data"),
            payload=payload,
            failed_code=failed_code,
            unread=unread,
        )
        self._write({"accepted": asdict(message)})
        self.messages.append(message)
        return message

    def category(self, message: AcceptedMessage) -> str:
        """A message's billing category: its template's; unlisted templates count as marketing."""
        template = message.payload.get("template")
        if not isinstance(template, dict):
            return "service"
        known: str = self.templates.get(str(template.get("name")), {}).get("category", "MARKETING")
        return known.lower()

    def acknowledge(self, items: list[tuple[str, str]]) -> None:
        """Record that the callback acknowledged (wamid, status) pairs."""
        self._write({"acknowledged": items})
        for wamid, status in items:
            self.acknowledged[wamid].add(status)

    def outstanding(self) -> list[tuple[AcceptedMessage, str]]:
        """Statuses that the callback has not acknowledged yet."""
        return [
            (message, status)
            for message in self.messages
            for status in message.statuses
            if status not in self.acknowledged[message.wamid]
        ]

    def stats(self) -> dict[str, Any]:
        """Statistics for ``GET /sandbox/stats``."""
        keys = Counter(m.biz_opaque_callback_data for m in self.messages)
        del keys[None]
        return {
            "accepted": len(self.messages),
            "rejected": {str(code): count for code, count in sorted(self.rejected.items())},
            "peak_per_second": dict(self._peaks),
            "duplicates": sum(count - 1 for count in keys.values()),
        }

    def reset(self) -> None:
        """Forget everything; the limits stay."""
        for store in (
            self.messages,
            self.rejected,
            self.acknowledged,
            self.last_inbound,
            self.names,
            self.reads,
            self.numbers,
            self.profiles,
            self.management,
            self._arrivals,
            self._peaks,
            self._pair_debt,
        ):
            store.clear()
        self.media.clear()
        if self._journal is not None:
            self._journal.truncate(0)

    def _write(self, entry: dict[str, Any]) -> None:
        if self._journal is not None:
            self._journal.write(json.dumps(entry) + "\n")
            self._journal.flush()

    def _replay(self, journal: Path) -> None:
        if not journal.exists():
            return
        for line in journal.read_text(encoding="utf-8").splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                continue  # the last line, cut off by kill -9: its acceptance was never sent
            if "accepted" in entry:
                message = AcceptedMessage(**entry["accepted"])
                self.messages.append(message)
                with suppress(GraphError):
                    self.arrive(message.phone_number_id, message.received_at)
            for wamid, status in entry.get("acknowledged", []):
                self.acknowledged[wamid].add(status)


def new_wamid() -> str:
    """A message id that looks like Meta's."""
    return "wamid." + base64.b64encode(secrets.token_bytes(33)).decode()
