"""The status machine: no order of events moves a message backwards or gives it two endings."""

from functools import reduce
from itertools import permutations

from hypothesis import given
from hypothesis import strategies as st

from pytake.messages.status import (
    HELD_BY_META,
    META_STATUSES,
    PUBLIC,
    RANK,
    Observation,
    Status,
    accepted_as,
    advance,
)

observations = st.sampled_from(list(Observation))
from_meta = st.sampled_from(list(META_STATUSES.values()))


def settle(events: list[Observation]) -> Observation | None:
    state: Observation | None = None
    for event in events:
        state = advance(state, event)
    return state


@given(st.lists(observations, max_size=30))
def test_ranks_never_fall(events: list[Observation]) -> None:
    state: Observation | None = None
    for event in events:
        following = advance(state, event)
        assert state is None or RANK[following] >= RANK[state]
        state = following


@given(st.lists(from_meta, min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_order_and_repetition_do_not_matter(events: list[Observation], chance: object) -> None:
    once = settle(events)
    repeated = events + events[::-1] + events
    chance.shuffle(repeated)  # type: ignore[attr-defined]  # a random.Random
    assert settle(repeated) == once


def test_every_order_of_metas_statuses_ends_in_the_same_status() -> None:
    for events in permutations(META_STATUSES.values()):
        assert settle(list(events)) is Observation.PLAYED


@given(observations, observations, observations)
def test_advance_is_associative(a: Observation, b: Observation, c: Observation) -> None:
    left = advance(advance(a, b), c)
    right = advance(a, reduce(advance, [c], b))
    assert left == right


def test_delivery_outranks_failure_and_receipts_outrank_our_belief() -> None:
    assert advance(Observation.FAILED, Observation.DELIVERED) is Observation.DELIVERED
    assert advance(Observation.DELIVERED, Observation.FAILED) is Observation.DELIVERED
    assert advance(Observation.DEAD, Observation.SENT) is Observation.SENT
    assert advance(Observation.READ, Observation.ACCEPTED) is Observation.READ


@given(st.permutations([Observation.ACCEPTED, *HELD_BY_META]))
def test_a_message_held_by_meta_shows_as_held_until_its_next_status(
    before: list[Observation],
) -> None:
    assert settle(before) is Observation.HELD_FOR_QUALITY_ASSESSMENT
    for word in META_STATUSES.values():
        assert settle([word, *before]) is settle([*before, word]) is word


def test_the_response_to_a_post_tells_whether_meta_holds_the_message() -> None:
    said = ("accepted", "", "receipt", "held_for_quality_assessment", "paused")
    assert [PUBLIC[accepted_as(word)].value for word in said] == ["sent"] * 3 + list(said[3:])


def test_every_observation_has_a_rank_and_a_public_status() -> None:
    assert set(RANK) == set(PUBLIC) == set(Observation)
    assert set(PUBLIC.values()) == {
        Status.HELD_FOR_QUALITY_ASSESSMENT,
        Status.PAUSED,
        Status.SENT,
        Status.DELIVERED,
        Status.READ,
        Status.FAILED,
        Status.CANCELLED,
    }
