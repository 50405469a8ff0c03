"""When the workflows of scheduled messages start, and when they have their first task.

That task only sets a timer, but costs the server and a worker as much as any, and tasks of one queue and
priority run in the order in which they came: thousands of messages that are scheduled at once would put
thousands of them before whatever is due. So only a few have it at once; the others have it right before
they are due.
"""

import asyncio
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Final

from pytake.access.token_buckets import TokenBuckets

_PER_SECOND: Final = 1.0
_BURST: Final = 20.0
"""First tasks of one API process: a small part of what the smallest installation does (over 50 a second,
docs/performance.md)."""
_LEAD: Final = 5.0
"""Seconds before its time that a message has its first task: for a start that takes long to arrive, and
because Temporal lets no run that lasted less than a second continue as another at once."""
_SOON: Final = 60.0
_AT_ONCE: Final = 2
"""Starts of messages that are not due soon: the server's database has one writer, behind which all that
is due would stand with them."""


class FirstTasks:
    """The starts of one API process."""

    def __init__(self) -> None:
        self._buckets = TokenBuckets()
        self._starts = asyncio.Semaphore(_AT_ONCE)

    def delay(self, ahead: float) -> float:
        """Seconds by which to delay the first task of a message that is due in ``ahead`` seconds; a few
        messages have no delay.
        """
        return max(ahead - _LEAD, 0.0) if self._buckets.take("", _PER_SECOND, _BURST) else 0.0

    def turn(self, ahead: float) -> AbstractAsyncContextManager[None]:
        """To be held while a message is started that is due in ``ahead`` seconds."""
        return self._starts if ahead > _SOON else nullcontext()
