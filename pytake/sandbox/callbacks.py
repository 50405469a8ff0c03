"""Sends statuses and inbound messages to the callback: batched, signed, retried until acknowledged."""

import asyncio
import hashlib
import heapq
import hmac
import itertools
import json
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, Final

import httpx
import structlog

from pytake.cookies import NoCookies
from pytake.sandbox import contacts
from pytake.sandbox.faults import Fault, FaultKind
from pytake.sandbox.numbers import display_digits
from pytake.sandbox.state import AcceptedMessage, SandboxState
from pytake.whatsapp.errors import rule_for
from pytake.whatsapp.limits import retry_wait

_log = structlog.get_logger()

_MAX_BATCH: Final = 1000
_TICK: Final = 0.05


@dataclass(order=True, slots=True)
class _Item:
    due: float
    sequence: int
    phone_number_id: str = field(compare=False)
    kind: str = field(compare=False)
    body: dict[str, Any] = field(compare=False)
    done: tuple[str, str] | None = field(compare=False, default=None)
    contact: dict[str, Any] | None = field(compare=False, default=None)
    tries: int = field(compare=False, default=0)


class CallbackSender:
    """Sends due updates, at least once, until the callback answers 200."""

    def __init__(self, state: SandboxState, url: str, app_secret: str | None) -> None:
        self._state = state
        self._url = url
        self._secret = app_secret
        self._queue: list[_Item] = []
        self._sequence = itertools.count()
        self._withheld: list[tuple[AcceptedMessage, Fault | None]] = []
        self._client = httpx.AsyncClient(cookies=NoCookies(), timeout=10, trust_env=False)

    def schedule(self, message: AcceptedMessage, fault: Fault | None, now: float) -> None:
        """Queue the statuses of an accepted message."""
        if fault is not None and fault.kind is FaultKind.STATUS_WITHHOLD:
            self._withheld.append((message, None))
            return
        delays = self._state.limits.status_delays
        statuses = list(message.statuses)
        if fault is not None and fault.kind is FaultKind.STATUS_REORDER:
            statuses.reverse()
        times = sorted(delays[status] for status in statuses)
        copies = 3 if fault is not None and fault.kind is FaultKind.STATUS_DUPLICATE else 1
        for status, delay in zip(statuses, times, strict=True):
            for copy in range(copies):
                self._push_status(message, status, now + delay + copy * 0.3)

    def resume_outstanding(self) -> None:
        """After a restart, queue what the callback has not acknowledged."""
        for message, status in self._state.outstanding():
            self._push_status(message, status, time.time())

    def release_withheld(self) -> None:
        """Send the statuses that a fault withheld."""
        withheld, self._withheld = self._withheld, []
        for message, fault in withheld:
            self.schedule(message, fault, time.time())

    def push_inbound(
        self, phone_number_id: str, message: dict[str, Any], contact: dict[str, Any]
    ) -> None:
        """Queue a message from a contact."""
        self._push(time.time(), phone_number_id, "messages", message, contact=contact)

    def clear(self) -> None:
        """Drop everything that is queued."""
        self._queue.clear()
        self._withheld.clear()

    async def run(self) -> None:
        """Send until cancelled."""
        try:
            while True:
                await asyncio.sleep(_TICK)
                batch: list[_Item] = []
                while self._queue and self._queue[0].due <= time.time() and len(batch) < _MAX_BATCH:
                    batch.append(heapq.heappop(self._queue))
                if batch:
                    await self._send(batch)
        finally:
            await self._client.aclose()

    async def _send(self, batch: list[_Item]) -> None:
        body = json.dumps(self._envelope(batch)).encode()  # non-ASCII escaped, as Meta does
        headers = {"Content-Type": "application/json"}
        if self._secret:
            digest = hmac.new(self._secret.encode(), body, hashlib.sha256).hexdigest()
            headers["X-Hub-Signature-256"] = f"sha256={digest}"
        try:
            response = await self._client.post(self._url, content=body, headers=headers)
            problem = None if response.status_code == 200 else f"HTTP {response.status_code}"
        except httpx.HTTPError as error:
            problem = type(error).__name__
        if problem is None:
            self._state.acknowledge([item.done for item in batch if item.done])
            return
        _log.warning("callback did not take updates", updates=len(batch), problem=problem)
        for item in batch:
            item.tries += 1
            wait = retry_wait(item.tries, initial=1.0, maximum=5.0)
            item.due = time.time() + wait.total_seconds()
            heapq.heappush(self._queue, item)

    def _envelope(self, batch: list[_Item]) -> dict[str, Any]:
        by_number: dict[str, list[_Item]] = defaultdict(list)
        for item in batch:
            by_number[item.phone_number_id].append(item)
        changes = []
        for number, items in by_number.items():
            value: dict[str, Any] = {
                "messaging_product": "whatsapp",
                "metadata": {
                    "display_phone_number": display_digits(self._state, number),
                    "phone_number_id": number,
                },
            }
            for kind in ("statuses", "messages"):
                if bodies := [item.body for item in items if item.kind == kind]:
                    value[kind] = bodies
            known = [item.contact for item in items if item.contact]
            if named := {(c.get("wa_id"), c["user_id"], c["profile"]["name"]): c for c in known}:
                value["contacts"] = list(named.values())
            changes.append({"field": "messages", "value": value})
        return {
            "object": "whatsapp_business_account",
            "entry": [{"id": self._state.account, "changes": changes}],
        }

    def _push_status(self, message: AcceptedMessage, status: str, due: float) -> None:
        category = self._state.category(message)
        body: dict[str, Any] = {
            "id": message.wamid,
            "status": status,
            "timestamp": str(int(max(message.received_at, due))),
            **contacts.recipient(message.to, status),
        }
        contact = None
        if status != "failed":
            name = self._state.names.get(contacts.user_id(message.to), "Sandbox")
            contact = contacts.contact(message.to, name)
        if message.biz_opaque_callback_data is not None:
            body["biz_opaque_callback_data"] = message.biz_opaque_callback_data
        if status in ("sent", "delivered"):
            body["pricing"] = {
                "billable": category != "service",
                "pricing_model": "PMP",
                "category": category,
                "type": "regular" if category != "service" else "free_customer_service",
            }
        if status == "failed" and message.failed_code is not None:
            title = rule_for(message.failed_code).title
            body["errors"] = [
                {
                    "code": message.failed_code,
                    "title": title,
                    "message": title,
                    "error_data": {"details": "a fault of the sandbox"},
                }
            ]
        done = (message.wamid, status)
        self._push(due, message.phone_number_id, "statuses", body, done, contact)

    def _push(
        self,
        due: float,
        number: str,
        kind: str,
        body: dict[str, Any],
        done: tuple[str, str] | None = None,
        contact: dict[str, Any] | None = None,
    ) -> None:
        item = _Item(due, next(self._sequence), number, kind, body, done, contact)
        heapq.heappush(self._queue, item)
