"""Posts messages of all kinds at a steady rate, and records every 202 and every status seen."""

import asyncio
import random
import time
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import pairwise
from typing import Any

import httpx

from pytake.clock import now
from tests.stack import fresh_recipient

RANK = {
    "scheduled": 0,
    "pending": 0,
    "processing": 0,
    "retrying": 0,
    "held": 0,
    "sent": 1,
    "failed": 2,
    "cancelled": 2,
    "delivered": 3,
    "read": 4,
}
TERMINAL = ("sent", "delivered", "read", "failed", "cancelled")
PRIORITIES = ("Critical", "High", "Normal", "Low")


@dataclass
class Driver:
    """The client of a run. ``number`` has a rate of its own, so that a broken limit shows."""

    api: httpx.AsyncClient
    chance: random.Random
    number: str
    rate: float = 6.0
    accepted: dict[str, float] = field(default_factory=dict)
    """Message id -> when its 202 came."""
    refused: int = 0
    seen: dict[str, list[str]] = field(default_factory=dict)
    """Message id -> statuses in the order they were seen, repeats left out."""
    cancelled: set[str] = field(default_factory=set)
    regulars: list[str] = field(default_factory=list)

    async def run(self, seconds: float) -> None:
        """Post until the time is over; requests may fail, but a 202 must hold."""
        beginning = time.monotonic()
        tasks: set[asyncio.Task[None]] = set()
        index = 0
        while time.monotonic() < beginning + seconds:
            tasks.add(asyncio.create_task(self._one(index)))
            index += 1
            await asyncio.sleep(max(0.0, beginning + index / self.rate - time.monotonic()))
        await asyncio.gather(*tasks)

    async def _one(self, index: int) -> None:
        body = self._message()
        key = f"chaos-{index}-{self.chance.random()}"
        # Like a careful client: the same key again until there is an answer.
        for _ in range(40):
            try:
                response = await self.api.post(
                    "/api/v1/queue/send", json=body, headers={"Idempotency-Key": key}
                )
            except httpx.HTTPError:
                await asyncio.sleep(0.5)
                continue
            if response.status_code == 202:
                message_id = response.json()["message_id"]
                self.accepted[message_id] = time.time()
                await self._look(message_id)
                if self.chance.random() < 0.05:
                    await self._cancel(message_id)
                return
            if response.status_code < 500:
                raise AssertionError(f"{response.status_code}: {response.text}")
            await asyncio.sleep(0.5)
        self.refused += 1

    def _message(self) -> dict[str, Any]:
        kinds: list[tuple[str, dict[str, Any]]] = [
            ("template", {"name": "pytake_saudacao", "language": "pt_BR"}),
            ("text", {"body": "Olá"}),
            ("interactive", {"body": "?", "buttons": [{"id": "a", "title": "Sim"}]}),
            ("location", {"latitude": -15.8, "longitude": -47.9}),
            ("media", {"media_type": "image", "url": "https://example.com/a.png"}),
        ]
        kind, content = self.chance.choice(kinds)
        body: dict[str, Any] = {
            "to": self._recipient(),
            "message_type": kind,
            "content": content,
            "priority": self.chance.choice(PRIORITIES),
            "phone_number_id": self.number,
            "check_window": False,
            "max_attempts": 8,
        }
        if self.chance.random() < 0.2:
            wait = timedelta(seconds=self.chance.uniform(2, 30))
            body["scheduled_for"] = (now() + wait).isoformat()
        return body

    def _recipient(self) -> str:
        """Mostly a new recipient; sometimes one of a few, to test the pair limit."""
        while len(self.regulars) < 8:
            self.regulars.append(fresh_recipient())
        return (
            self.chance.choice(self.regulars) if self.chance.random() < 0.2 else fresh_recipient()
        )

    async def _cancel(self, message_id: str) -> None:
        try:
            response = await self.api.post(f"/api/v1/queue/message/{message_id}/cancel")
        except httpx.HTTPError:
            return
        if response.status_code == 200:
            self.cancelled.add(message_id)

    async def watch(self) -> None:
        """Poll random messages until cancelled, recording their statuses."""
        while True:
            await asyncio.sleep(0.1)
            if self.accepted:
                await self._look(self.chance.choice(list(self.accepted)))

    async def _look(self, message_id: str) -> str | None:
        try:
            response = await self.api.get(f"/api/v1/queue/message/{message_id}")
        except httpx.HTTPError:
            return None
        if response.status_code != 200:
            return None
        status: str = response.json()["status"]
        history = self.seen.setdefault(message_id, [])
        if not history or history[-1] != status:
            history.append(status)
        return status

    async def settle(self, seconds: float) -> dict[str, str]:
        """Wait until every message has ended; message id -> last status of those that have not."""
        deadline = time.monotonic() + seconds
        waiting = set(self.accepted)
        while waiting and time.monotonic() < deadline:
            for message_id in list(waiting):
                status = await self._look(message_id)
                # ``sent`` is an end only as far as we know: delivered and read are on their way.
                if status in TERMINAL and status != "sent":
                    waiting.discard(message_id)
            await asyncio.sleep(1)
        return {
            message_id: (self.seen.get(message_id) or ["never seen"])[-1] for message_id in waiting
        }

    def went_back(self) -> dict[str, list[str]]:
        """Messages whose status went backwards."""
        return {
            message_id: statuses
            for message_id, statuses in self.seen.items()
            if any(RANK[b] < RANK[a] for a, b in pairwise(statuses))
        }
