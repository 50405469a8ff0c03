"""Sweeping: a sweep that fails is not the last one."""

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
