"""Account and template updates: which event and which alert each one becomes."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given

from pytake.callback.account_notices import notice
from pytake.texts import keys, say
from pytake.webhooks.event_types import SCHEMAS, EventType
from tests.callback.test_parse import values

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
TEMPLATE = {
    "message_template_id": 1_689_556_908_129_832,
    "message_template_name": "oferta",
    "message_template_language": "pt-BR",
}
ACCOUNT_CASES: list[tuple[str, dict[str, Any], str, str | None, str]] = [
    (
        "account_update",
        {
            "event": "ACCOUNT_RESTRICTION",
            "restriction_info": [
                {
                    "restriction_type": "RESTRICTED_BIZ_INITIATED_MESSAGING",
                    "expiration": 1_795_000_000,
                }
            ],
        },
        "account.restricted",
        "account_restricted",
        "101: RESTRICTED_BIZ_INITIATED_MESSAGING until 2026-11-18 11:06 UTC",
    ),
    (
        "account_update",
        {"event": "ACCOUNT_VIOLATION", "violation_info": {"violation_type": "ALCOHOL"}},
        "account.violation_reported",
        "account_violation",
        "101: ALCOHOL",
    ),
    (
        "account_update",
        {
            "event": "DISABLED_UPDATE",
            "ban_info": {
                "waba_ban_state": ["SCHEDULE_FOR_DISABLE"],
                "waba_ban_date": "December 6, 2026",
            },
        },
        "account.disabled",
        "account_disabled",
        "101: SCHEDULE_FOR_DISABLE, December 6, 2026",
    ),
    (
        "account_update",
        {"event": "DISABLED_UPDATE", "ban_info": {"waba_ban_state": "REINSTATE"}},
        "account.reinstated",
        None,
        "",
    ),
    (
        "account_update",
        {"event": "PARTNER_REMOVED", "reason": "OWNER"},
        "account.partner_removed",
        "account_partner_removed",
        "101: PARTNER_REMOVED, OWNER",
    ),
    (
        "account_update",
        {"event": "PARTNER_APP_UNINSTALLED"},
        "account.partner_removed",
        "account_partner_removed",
        "101: PARTNER_APP_UNINSTALLED",
    ),
    (
        "account_update",
        {"event": "ACCOUNT_OFFBOARDED"},
        "account.offboarded",
        "account_offboarded",
        "101: ACCOUNT_OFFBOARDED",
    ),
    (
        "account_update",
        {"event": "ACCOUNT_DELETED"},
        "account.deleted",
        "account_deleted",
        "101: ACCOUNT_DELETED",
    ),
    ("account_update", {"event": "ACCOUNT_RECONNECTED"}, "account.reconnected", None, ""),
    ("account_update", {"event": "VOLUME_BASED_PRICING_TIER_UPDATE"}, "account.updated", None, ""),
    (
        "account_alerts",
        {
            "entity_type": "WABA",
            "alert_info": {
                "alert_severity": "CRITICAL",
                "alert_status": "ACTIVE",
                "alert_type": "X",
                "alert_description": "Y",
            },
        },
        "account.alert_raised",
        "account_alert",
        "101: X, Y",
    ),
    (
        "account_alerts",
        {"entity_type": "WABA", "alert_severity": "WARNING", "alert_type": "X"},
        "account.alert_raised",
        "account_alert",
        "101: X",
    ),
    (
        "account_alerts",
        {"alert_info": {"alert_severity": "INFORMATIONAL", "alert_type": "OBA_APPROVED"}},
        "account.alert_raised",
        None,
        "",
    ),
]
TEMPLATE_CASES: list[tuple[str, dict[str, Any], str, str | None, tuple[str | None, str | None]]] = [
    (
        "message_template_status_update",
        {"event": "PAUSED", "other_info": {"title": "FIRST_PAUSE"}},
        "template.status_changed",
        "template_paused",
        (None, "PAUSED"),
    ),
    (
        "message_template_status_update",
        {"event": "DISABLED", "reason": "NONE"},
        "template.status_changed",
        "template_disabled",
        (None, "DISABLED"),
    ),
    (
        "message_template_status_update",
        {"event": "REJECTED", "reason": "INVALID_FORMAT"},
        "template.status_changed",
        "template_rejected",
        (None, "REJECTED"),
    ),
    (
        "message_template_status_update",
        {"event": "FLAGGED"},
        "template.status_changed",
        "template_flagged",
        (None, "FLAGGED"),
    ),
    (
        "message_template_status_update",
        {"event": "LOCKED"},
        "template.status_changed",
        "template_locked",
        (None, "LOCKED"),
    ),
    (
        "message_template_status_update",
        {"event": "APPROVED", "reason": "NONE"},
        "template.status_changed",
        None,
        (None, "APPROVED"),
    ),
    (
        "message_template_quality_update",
        {"previous_quality_score": "GREEN", "new_quality_score": "YELLOW"},
        "template.quality_changed",
        None,
        ("GREEN", "YELLOW"),
    ),
    (
        "message_template_quality_update",
        {"previous_quality_score": "YELLOW", "new_quality_score": "RED"},
        "template.quality_changed",
        "template_quality_red",
        ("YELLOW", "RED"),
    ),
    (
        "template_category_update",
        {"previous_category": "UTILITY", "new_category": "MARKETING"},
        "template.category_changed",
        "template_recategorised",
        ("UTILITY", "MARKETING"),
    ),
    (
        "template_category_update",
        {"new_category": "UTILITY", "correct_category": "MARKETING"},
        "template.category_changed",
        "template_category_impending",
        ("UTILITY", "MARKETING"),
    ),
]


@pytest.mark.parametrize(("field", "value", "event", "alert", "detail"), ACCOUNT_CASES)
def test_account_updates_have_an_event_and_an_alert_with_advice(
    field: str, value: dict[str, Any], event: str, alert: str | None, detail: str
) -> None:
    told = notice(field, value, "101", NOW)
    assert told is not None
    assert (told.event.value, told.alert) == (event, alert)
    SCHEMAS[told.event].model_validate(told.data.model_dump())
    if alert is not None:
        assert told.detail == detail
        assert told.data.advice
        for language in ("en", "pt-BR"):
            assert detail in say(alert, language, value=detail)
            assert say(f"{alert}.advice", language, value=detail)


@pytest.mark.parametrize(("field", "value", "event", "alert", "change"), TEMPLATE_CASES)
def test_template_updates_have_an_event_and_an_alert_with_advice(
    field: str, value: dict[str, Any], event: str, alert: str | None, change: tuple[str, str]
) -> None:
    told = notice(field, {**TEMPLATE, **value}, "101", NOW)
    assert told is not None
    data = told.data.model_dump()
    assert (told.event.value, told.alert) == (event, alert)
    assert (data["before"], data["after"]) == change
    assert (data["template_id"], data["language"]) == ("1689556908129832", "pt_BR")
    assert (alert is None) == (not data["advice"])
    assert alert is None or f"{alert}.advice" in keys()


@given(values)
def test_notice_never_fails(value: object) -> None:
    for field in (
        "account_update",
        "account_alerts",
        "message_template_status_update",
        "message_template_quality_update",
        "template_category_update",
        "other",
    ):
        told = notice(field, value, None, NOW)
        assert told is None or told.data.model_dump_json()


def test_every_type_of_event_has_a_schema() -> None:
    assert set(SCHEMAS) == set(EventType)
