"""Exponential back-off."""

from pytake.backoff import backoff


def test_waits_grow_by_the_factor_up_to_the_maximum() -> None:
    waits = [backoff(n, initial=5, maximum=100, factor=3) for n in (1, 2, 3, 4, 5)]
    assert waits == [5, 15, 45, 100, 100]
    assert backoff(0, initial=5, maximum=100) == 5, "there is at least one failure"
    assert backoff(10**9, initial=1, maximum=60) == 60, "no overflow"
