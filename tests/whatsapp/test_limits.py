"""Tiers, back-off, throttling, service windows and pacing."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytake.whatsapp.limits import (
    dispatch_rate,
    pace_window,
    paced_rate,
    pair_wait,
    parse_tier,
    probe_wait,
    recovered_rate,
    retry_wait,
    throttled_rate,
    window_open,
)


@pytest.mark.parametrize(
    ("name", "limit"),
    [
        ("TIER_0", 250),
        ("tier_1", 1000),
        ("TIER_2", 10_000),
        ("TIER_3", 100_000),
        ("TIER_50", 50),
        ("TIER_250", 250),
        ("TIER_1K", 1000),
        ("TIER_2K", 2000),
        ("tier_10k", 10_000),
        ("TIER_100K", 100_000),
        ("TIER_UNLIMITED", None),
    ],
)
def test_tiers_of_both_vocabularies(name: str, limit: int | None) -> None:
    assert parse_tier(name).daily_limit == limit


def test_an_unknown_tier_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match="TIER_UNLIMITED"):
        parse_tier("TIER_9")


def test_the_pair_limit_waits_4_to_the_n() -> None:
    assert [pair_wait(n).total_seconds() for n in range(4)] == [1, 4, 16, 64]
    assert pair_wait(50) == timedelta(hours=1)


def test_retries_back_off_from_1_second_to_5_minutes() -> None:
    assert [retry_wait(n).total_seconds() for n in (1, 2, 3, 4)] == [1, 2, 4, 8]
    assert retry_wait(20) == timedelta(minutes=5)


def test_probes_back_off_to_10_minutes() -> None:
    assert [probe_wait(n).total_seconds() for n in (0, 1, 2)] == [5, 10, 20]
    assert probe_wait(99) == timedelta(minutes=10)


@given(st.floats(min_value=0.3, max_value=1000))
def test_a_throttled_number_recovers_to_its_rate_and_never_beyond(base: float) -> None:
    rate = base
    for _ in range(20):
        rate = throttled_rate(rate, base)
    assert 0.2 <= rate <= base
    steps = 0
    while rate < base:
        following = recovered_rate(rate, base)
        assert rate < following <= base
        rate, steps = following, steps + 1
    assert steps <= 12


def test_the_service_window_is_24_hours_from_the_last_message() -> None:
    now = datetime(2026, 1, 2, tzinfo=UTC)
    assert window_open(now - timedelta(hours=23, minutes=59), now)
    assert not window_open(now - timedelta(hours=24), now)
    assert not window_open(None, now)


@pytest.mark.parametrize("rate", [0.2, 1, 5, 12.5, 20, 80, 1000])
def test_the_pace_leaves_room_for_jitter_and_dispatch_stays_under_it(rate: float) -> None:
    assert rate / 1.1 <= dispatch_rate(rate) * 1.006 <= paced_rate(rate) * 1.006 < rate
    assert dispatch_rate(rate) < paced_rate(rate)
    assert 1.04 <= pace_window(rate) <= 1.1
    if rate >= 20:
        assert dispatch_rate(rate) >= 0.95 * rate
