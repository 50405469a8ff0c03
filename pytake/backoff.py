"""Exponential back-off, in one place."""


def backoff(failures: int, *, initial: float, maximum: float, factor: float = 2.0) -> float:
    """Seconds to wait after ``failures`` failures in a row (at least 1).

    The first wait is ``initial``; each further one is ``factor`` times as long, up to ``maximum``.
    """
    return min(initial * factor ** min(max(failures, 1) - 1, 60), maximum)
