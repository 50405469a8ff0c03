"""Runs a process's main coroutine on uvloop if it is installed, else on asyncio's own loop."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any


def _factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # not on every platform
        return None
    return uvloop.new_event_loop


def run(main: Coroutine[Any, Any, None]) -> None:
    """``asyncio.run`` with that loop."""
    with asyncio.Runner(loop_factory=_factory()) as runner:
        runner.run(main)
