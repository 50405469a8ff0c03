"""When the workflows of scheduled messages start, and when their first workflow task runs.

The first task only sets a timer, but costs the server and a worker as much as any other, and tasks of one
queue and priority run in order of arrival: scheduling thousands of messages at once would put thousands of
tasks ahead of the messages that are due. So only a few get their first task right away; the others get it
shortly before they are due.
"""

import asyncio
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Final

from pytake.access.token_buckets import TokenBuckets

_PER_SECOND: Final = 1.0
_BURST: Final = 20.0
"""First tasks per API process: a small share of what the smallest installation handles (over 50 a second,
docs/performance.md)."""
_LEAD: Final = 5.0
"""Seconds before its due time that a message's first task runs: allows for a slow start, and for
Temporal delaying a continue-as-new of a run that lasted less than a second."""
_SOON: Final = 60.0
_AT_ONCE: Final = 2
"""Concurrent starts of messages that are not due soon: the server's database has a single writer, and
more of them would hold up messages that are due."""


class FirstTasks:
    """Spreads the starts and first tasks of scheduled messages; one instance per API process."""

    def __init__(self) -> None:
        self._buckets = TokenBuckets()
        self._starts = asyncio.Semaphore(_AT_ONCE)

    def delay(self, ahead: float) -> float:
        """Seconds to delay the first task of a message that is due in ``ahead`` seconds; 0 for the few
        within the rate.
        """
        return max(ahead - _LEAD, 0.0) if self._buckets.take("", _PER_SECOND, _BURST) else 0.0

    def turn(self, ahead: float) -> AbstractAsyncContextManager[None]:
        """Context to hold while starting a message that is due in ``ahead`` seconds."""
        return self._starts if ahead > _SOON else nullcontext()
