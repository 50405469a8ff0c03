"""Sweeping goes on after a sweep that fails."""

import asyncio

import pytest

from pytake.process import sweeping


async def test_goes_on_after_any_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeping, "_SECONDS", 0.01)
    swept = 0
    enough = asyncio.Event()

    async def sweep() -> None:
        nonlocal swept
        swept += 1
        if swept == 3:
            enough.set()
        raise KeyError("not an error of a database")

    async with sweeping.sweeping(sweep):
        await asyncio.wait_for(enough.wait(), 5)


async def test_a_sweep_that_takes_its_cancellation_for_a_failure_is_the_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sweeping, "_SECONDS", 0)
    begun = asyncio.Event()

    async def sweep() -> None:
        begun.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise OSError from None

    async with asyncio.timeout(5):
        async with sweeping.sweeping(sweep):
            await begun.wait()
