"""The error table: every code of Meta's list, with its class, advice and source."""

import re

import pytest

from pytake.domain.errors import ERRORS, ErrorClass, rule_for

CLASSES = {
    ErrorClass.TRANSIENT: {1, 2, 131000, 131016, 133004},
    ErrorClass.THROTTLED_NUMBER: {4, 80007, 130429, 131057, 133015, 134101},
    ErrorClass.THROTTLED_RECIPIENT: {131056},
    ErrorClass.WAIT: {131049, 131064, 132015, 132069},
    ErrorClass.PERMANENT: {
        33, 100, 131008, 131009, 131021, 131026, 131030, 131047, 131050, 131051, 131052, 131053, 131055,
        131062, 131063, 130403, 130472, 132000, 132001, 132005, 132007, 132008, 132012, 132016, 132018,
        132068, 135000, 137000,
    },
    ErrorClass.HALT: {
        0, 190, 3, 10, 131005, 368, 131031, 130497, 131042, 134011, 131037, 131045, 131048, 133000,
        133005, 133006, 133008, 133009, 133010, 133016,
    },
}  # fmt: skip


def test_the_table_is_the_facts_pages() -> None:
    found = {
        kind: {c for c, rule in ERRORS.items() if rule.error_class is kind} for kind in CLASSES
    }
    assert found == CLASSES


@pytest.mark.parametrize("code", sorted(ERRORS))
def test_every_code_says_what_to_do_and_where_it_comes_from(code: int) -> None:
    rule = ERRORS[code]
    assert rule.code == code
    assert re.fullmatch(r"[A-Z].{20,}\.", rule.advice), rule.advice
    assert rule.source.startswith("https://developers.facebook.com/")
    assert rule.wait_seconds >= 0


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [(999999, 400, ErrorClass.PERMANENT), (999999, 500, ErrorClass.TRANSIENT), (-1, 503, ErrorClass.TRANSIENT), (-1, 404, ErrorClass.PERMANENT), (200, 403, ErrorClass.HALT), (299, 400, ErrorClass.HALT), (300, 400, ErrorClass.PERMANENT)],
)  # fmt: skip
def test_unknown_codes_follow_the_rule(code: int, status: int, expected: ErrorClass) -> None:
    assert rule_for(code, status).error_class is expected
