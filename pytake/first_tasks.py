"""When the workflows of scheduled messages have their first task.

That task only sets a timer, but costs the server and a worker as much as any. Thousands of messages that
are scheduled at once would put thousands of such tasks before whatever is due: tasks of one queue and
priority run in the order in which they came. So those that have time are spread.
"""

import random
import time
from typing import Final

_PER_SECOND: Final = 10.0
"""First tasks a second of one API process, once a burst is over: a small part of what the smallest
installation does (over 50 a second, docs/performance.md)."""
_BURST: Final = 20.0
_SPARE: Final = 60.0
"""Seconds before its time that a message has had its first task, whatever else there is."""


class FirstTasks:
    """The delays of one API process; a few messages have none."""

    def __init__(self) -> None:
        self._next = 0.0

    def delay(self, ahead: float) -> float:
        """Seconds by which to delay the first task of a message that is due in ``ahead`` seconds."""
        spare = ahead - _SPARE
        if spare <= 0:
            return 0.0
        at = time.monotonic()
        following = max(self._next, at - _BURST / _PER_SECOND) + 1 / _PER_SECOND
        if following - at > spare:
            # More than fit in before their time: evenly over what there is of it.
            return random.uniform(0, spare)  # noqa: S311 - spreads load
        self._next = following
        return max(following - at, 0.0)
