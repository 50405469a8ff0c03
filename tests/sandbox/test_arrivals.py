"""The sandbox counts a call by its arrival at the socket."""

import asyncio
import struct
import sys
import time

import httpx
import pytest
import uvicorn

from pytake.sandbox.server import _arrived
from pytake.sandbox.state import Limits, SandboxState
from pytake.sandbox.validation import GraphError
from pytake.settings import Settings
from tests.stack import fresh_number, fresh_recipient


async def _post(client: httpx.AsyncClient, number: str) -> None:
    body = {
        "messaging_product": "whatsapp",
        "to": fresh_recipient(),
        "type": "text",
        "text": {"body": "oi"},
    }
    response = await client.post(
        f"/v25.0/{number}/messages", json=body, headers={"Authorization": "Bearer t"}
    )
    assert response.status_code == 200, response.text


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's word on when data came")
async def test_the_sandbox_counts_a_call_when_it_arrives_however_late_it_is_handled(
    sandbox: tuple[Settings, uvicorn.Server],
) -> None:
    settings, server = sandbox
    number = fresh_number()
    async with httpx.AsyncClient(
        base_url=settings.whatsapp.api_base_url, trust_env=False, timeout=20
    ) as client:
        await client.post("/sandbox/faults", json={"kind": "latency", "seconds": 1, "count": 1})
        slow = asyncio.create_task(_post(client, number))
        await asyncio.sleep(0.1)
        # Its loop stalls, and reads two calls together that came 0.3 s apart.
        (loop,) = {task.get_loop() for task in _tasks(server)}
        loop.call_soon_threadsafe(time.sleep, 0.8)
        first = asyncio.create_task(_post(client, number))
        await asyncio.sleep(0.3)
        await asyncio.gather(slow, first, _post(client, number))
        listed = (await client.get("/sandbox/messages")).json()
    times = sorted(m["received_at"] for m in listed)
    assert times[2] - times[1] > 0.2
    (late,) = [m for m in listed if m["received_at"] == times[0]]
    assert late["handled_at"] - late["received_at"] >= 0.95


class _Preempted(asyncio.Transport):
    """A connection whose data came at ``at``; its reader loses the CPU while it asks for the first time."""

    def __init__(self, at: float) -> None:
        super().__init__()
        self._at, self._asked = at, 0

    def get_extra_info(self, name: str, default: object = None) -> object:
        return self

    def getsockopt(self, *_: int) -> bytes:
        self._asked += 1
        if self._asked == 1:
            time.sleep(0.05)
        return struct.pack("52xI", round((time.time() - self._at) * 1000))


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's word on when data came")
def test_an_arrival_is_not_made_earlier_by_a_reader_that_loses_the_cpu() -> None:
    at = time.time() - 0.2
    assert abs(_arrived(_Preempted(at)) - at) < 0.02


def _tasks(server: uvicorn.Server) -> set[asyncio.Task[None]]:
    return server.server_state.tasks


@pytest.mark.parametrize(
    ("arrivals", "peak", "refused"),
    [
        ([0.0, 0.4, 0.9, 1.0, 1.45], 3, 0),
        ([0.0, 0.5, 0.999], 3, 0),
        ([0.9, 0.2, 1.1, 0.5], 4, 0),
        ([0.0, 0.1, 0.2, 0.3, 1.15], 4, 1),
    ],
)
def test_arrivals_are_counted_in_any_second_in_whatever_order_they_are_read(
    arrivals: list[float], peak: int, refused: int
) -> None:
    state = SandboxState(None, Limits(throughput=3))
    errors = []
    for at in arrivals:
        try:
            state.arrive("n", 1000 + at)
        except GraphError as error:
            errors.append(error.code)
    assert (state.stats()["peak_per_second"]["n"], errors) == (peak, [130429] * refused)
