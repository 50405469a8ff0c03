"""The error table: every code on Meta's list, with its class, advice and source."""

import re
from datetime import UTC, datetime

import pytest

from pytake.callback.parse import parse
from pytake.whatsapp.errors import BY_SUBCODE, ERRORS, ErrorClass, ErrorRule, hold_rule, rule_for
from pytake.whatsapp.errors_pt import advice_in

CLASSES = {
    ErrorClass.TRANSIENT: {1, 2, 131000, 131016, 133004},
    ErrorClass.THROTTLED_NUMBER: {4, 17, 613, 80007, 130429, 131057, 133015, 134101, 2494100},
    ErrorClass.THROTTLED_RECIPIENT: {131056},
    ErrorClass.WAIT: {131049, 131064, 132015, 132069},
    ErrorClass.PERMANENT: {
        33,
        100,
        131008,
        131009,
        131021,
        131026,
        131030,
        131047,
        131050,
        131051,
        131052,
        131053,
        131055,
        131062,
        131063,
        130403,
        130472,
        130497,
        134100,
        134102,
        132000,
        132001,
        132005,
        132007,
        132008,
        132012,
        132016,
        132018,
        132068,
        135000,
        137000,
    },
    ErrorClass.HALT: {
        0,
        190,
        3,
        10,
        131005,
        368,
        131031,
        131042,
        131044,
        134011,
        139000,
        131037,
        131045,
        131048,
        133000,
        133005,
        133006,
        133008,
        133009,
        133010,
        133016,
    },
}


def test_the_table_matches_the_documented_codes() -> None:
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
    [
        (999999, 400, ErrorClass.PERMANENT),
        (999999, 500, ErrorClass.TRANSIENT),
        (-1, 503, ErrorClass.TRANSIENT),
        (-1, 404, ErrorClass.PERMANENT),
        (200, 403, ErrorClass.HALT),
        (299, 400, ErrorClass.HALT),
        (300, 400, ErrorClass.PERMANENT),
    ],
)
def test_unknown_codes_follow_the_rule(code: int, status: int, expected: ErrorClass) -> None:
    assert rule_for(code, status).error_class is expected


@pytest.mark.parametrize(
    ("code", "status", "is_transient", "expected"),
    [
        (999999, 400, True, ErrorClass.TRANSIENT),
        (999999, 500, False, ErrorClass.PERMANENT),
        (131026, 400, True, ErrorClass.PERMANENT),
        (131000, 500, False, ErrorClass.TRANSIENT),
        (190, 401, True, ErrorClass.HALT),
        (299, 403, True, ErrorClass.HALT),
    ],
)
def test_is_transient_only_decides_codes_missing_from_the_table(
    code: int, status: int, is_transient: bool, expected: ErrorClass
) -> None:
    assert rule_for(code, status, is_transient=is_transient).error_class is expected


def test_a_subcode_distinguishes_a_deleted_number_from_a_wrong_field() -> None:
    gone = rule_for(100, subcode=33)
    assert gone.error_class is ErrorClass.HALT
    assert "token" in gone.advice
    assert hold_rule(100) == gone
    for subcode in (None, 34):
        assert rule_for(100, subcode=subcode).error_class is ErrorClass.PERMANENT
    assert rule_for(131026, subcode=33) == ERRORS[131026]


@pytest.mark.parametrize("rule", [*ERRORS.values(), *BY_SUBCODE.values(), rule_for(205)], ids=str)
def test_every_advice_has_a_portuguese_translation(rule: ErrorRule) -> None:
    unknown = advice_in(rule_for(999999), "pt-BR")
    assert advice_in(rule, "pt-BR") not in (unknown, rule.advice)
    assert advice_in(rule, "en") == rule.advice


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (135000, ("paced in batches", "lotes")),
        (130403, ("unblock", "desbloqueie")),
        (131062, ("phone number", "telefone")),
        (131064, ("category", "categoria")),
        (131063, ("switched off", "desligados")),
        (134100, ("Cloud API", "Cloud API")),
        (134102, ("not eligible", "requisitos")),
        (131049, ("24 hours more", "mais 24 horas")),
    ],
)
def test_the_advice_names_the_remedy(code: int, words: tuple[str, str]) -> None:
    for language, word in zip(("en", "pt-BR"), words, strict=True):
        assert word in advice_in(ERRORS[code], language)


def test_late_failures_use_the_same_table() -> None:
    def late(**error: object) -> ErrorRule | None:
        status = {"id": "wamid.x", "status": "failed", "timestamp": "1700000000", "errors": [error]}
        value = {"metadata": {"phone_number_id": "1"}, "statuses": [status]}
        body = {"entry": [{"changes": [{"field": "messages", "value": value}]}]}
        return parse(body, datetime.now(UTC)).receipts[0].error

    assert late(code=135000) == ERRORS[135000]
    assert late(code=100, error_subcode=33) == rule_for(100, subcode=33)
    assert late(code=100, error_subcode="33") == ERRORS[100]
    transient = late(code=999999, is_transient=True)
    assert transient is not None
    assert transient.error_class is ErrorClass.TRANSIENT
