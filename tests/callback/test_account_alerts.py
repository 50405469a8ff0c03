"""Account and template updates, from Meta's request to alerts and events, in one transaction."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from sqlmodel import Session

from pytake import number_transfer
from pytake.callback import intake as callback_intake
from pytake.callback.body import read_body
from pytake.callback.parse import parse
from pytake.clock import now
from pytake.database.engine import Database
from pytake.numbers import alerts
from pytake.numbers import owners as number_owners
from pytake.numbers import store as numbers
from pytake.numbers.tables import Alert
from pytake.settings import Settings
from pytake.templates import store as templates
from pytake.webhooks.tables import WebhookEndpoint, WebhookEvent
from pytake.whatsapp.counts import Template
from tests.stack import make_settings

OURS, THEIRS = "901", "902"
RESTRICTED = {"event": "ACCOUNT_RESTRICTION", "restriction_info": [{"restriction_type": "R"}]}


class Installation:
    """A database with numbers of three tenants: two of the configured account, one of another."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.database = Database(settings.storage.sqlalchemy_url)
        self.database.migrate()
        for number, tenant, account in (("1", "a", OURS), ("2", "b", OURS), ("3", "c", THEIRS)):
            self.database.write_now(
                numbers.register,
                number,
                tenant_id=tenant,
                portfolio_id=account,
                rate=80,
                tier="TIER_1K",
            )
        for tenant in ("default", "a", "b", "c", "nobody"):
            self.database.write_now(_endpoint, tenant)

    def receive(self, field: str, value: Any, account: str = OURS, at: int = 1_790_000_000) -> None:
        changes = [{"field": field, "value": value}]
        body = {"entry": [{"id": account, "time": at, "changes": changes}]}
        callback = parse(read_body(json.dumps(body).encode()), now())
        self.database.write_now(callback_intake.store, callback, self.settings)

    def alerts(self, kind: str) -> list[tuple[str, str]]:
        """(tenant, detail) of those that are open."""
        with Session(self.database.engine) as session:
            found = [a for a in numbers.open_alerts(session, None) if a.kind == kind]
            return sorted((alert.tenant_id, alert.detail) for alert in found)

    def events(self, kind: str) -> list[str]:
        """The tenants of the events of a type."""
        with Session(self.database.engine) as session:
            return sorted(
                e.tenant_id for e in session.scalars(select(WebhookEvent)) if e.type == kind
            )


def _endpoint(session: Session, tenant: str) -> None:
    session.add(
        WebhookEndpoint(
            id=tenant,
            tenant_id=tenant,
            url="http://127.0.0.1:9/",
            events=["account.*", "template.*"],
            sealed=b"",
            max_retries=1,
            retry_schedule=[],
            backoff_initial=1,
            backoff_factor=2,
            backoff_max=2,
            backoff_jitter=0,
            timeout_seconds=1,
            rate_limit_per_second=1,
            created_at=now(),
            updated_at=now(),
        )
    )


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    made = Installation(make_settings(tmp_path, WHATSAPP_BUSINESS_ACCOUNT_ID=OURS))
    yield made
    made.database.close()


def test_every_tenant_of_the_account_is_notified_once(installation: Installation) -> None:
    for _ in range(3):
        installation.receive("account_update", RESTRICTED)
    tenants = ["a", "b", "c", "default"]  # of the configured account, whose token sends for all
    assert installation.alerts("account_restricted") == [(t, f"{OURS}: R") for t in tenants]
    assert installation.events("account.restricted") == tenants
    # Said again another time, it is another event, and the alert is still open.
    installation.receive("account_update", RESTRICTED, at=1_790_000_060)
    assert len(installation.alerts("account_restricted")) == 4
    assert installation.events("account.restricted") == sorted(tenants * 2)


def test_alerts_go_to_the_tenants_of_the_account_or_else_to_admins(
    installation: Installation,
) -> None:
    installation.receive("account_update", RESTRICTED, THEIRS)
    assert installation.alerts("account_restricted") == [("c", f"{THEIRS}: R")]
    installation.receive("account_update", RESTRICTED, "903")
    assert ("*", "903: R") in installation.alerts("account_restricted")
    assert installation.events("account.restricted") == ["c"]


def test_an_alert_about_a_number_goes_to_its_owner(installation: Installation) -> None:
    value = {"entity_type": "PHONE_NUMBER", "entity_id": "2", "alert_info": {"alert_type": "X"}}
    installation.receive("account_alerts", value)
    assert installation.alerts("account_alert") == [("b", f"{OURS}: X")]
    assert installation.events("account.alert_raised") == ["b"]


def test_tenants_that_send_from_a_shared_number_are_notified_too(
    installation: Installation,
) -> None:
    for number, guest in (("3", "guest"), ("2", "other")):
        installation.database.write_now(number_owners.share, number, guest)
        installation.database.write_now(_endpoint, guest)
    installation.receive("account_update", RESTRICTED, THEIRS)
    assert installation.alerts("account_restricted") == [
        (tenant, f"{THEIRS}: R") for tenant in ("c", "guest")
    ]
    assert installation.events("account.restricted") == ["c", "guest"]
    value = {"entity_type": "PHONE_NUMBER", "entity_id": "2", "alert_info": {"alert_type": "X"}}
    installation.receive("account_alerts", value)
    assert [tenant for tenant, _ in installation.alerts("account_alert")] == ["b", "other"]
    installation.database.write_now(number_transfer.move, "2", "new", now())
    assert [tenant for tenant, _ in installation.alerts("account_alert")] == ["new", "other"]


def test_a_pause_ends_when_the_template_is_approved_and_no_sooner(
    installation: Installation,
) -> None:
    def update(event: str, at: int) -> None:
        value = {"event": event, "message_template_name": "x", "message_template_language": "en-US"}
        installation.receive("message_template_status_update", value, THEIRS, at)

    update("PAUSED", 1_790_000_100)
    update("APPROVED", 1_790_000_000)  # late: it was before the pause
    assert installation.alerts("template_paused") == [("c", "x (en_US)")]
    update("APPROVED", 1_790_000_200)
    assert installation.alerts("template_paused") == []
    update("PAUSED", 1_790_000_300)
    update("DISABLED", 1_790_000_400)
    assert installation.alerts("template_paused") == []
    assert installation.alerts("template_disabled") == [("c", "x (en_US)")]
    assert installation.events("template.status_changed") == ["c"] * 5


def test_an_alert_can_only_be_dismissed_by_its_tenant(installation: Installation) -> None:
    installation.receive("account_update", RESTRICTED, THEIRS)
    with Session(installation.database.engine) as session:
        (alert_id,) = session.scalars(select(Alert.id))
    assert not installation.database.write_now(alerts.dismiss, alert_id, "a", now())
    assert installation.database.write_now(alerts.dismiss, alert_id, "c", now())
    installation.receive("account_update", RESTRICTED, THEIRS)  # Meta's repeat is no news
    assert installation.alerts("account_restricted") == []


def test_the_stored_state_of_a_template_follows_the_callback(installation: Installation) -> None:
    known = Template("7", "x", "en_US", "UTILITY", "APPROVED")
    database, since = installation.database, datetime.fromtimestamp(1_790_000_000, UTC)
    database.write_now(templates.save_template, THEIRS, "c", known, since)

    def update(kind: str, at: int, **value: Any) -> tuple[str, str]:
        named = {"message_template_name": "x", "message_template_language": "en-US"}
        installation.receive(kind, {**named, **value}, THEIRS, at)
        row = database.read_now(templates.category, THEIRS, "x", "en_US")
        assert row is not None
        return row.category, row.status

    changed = {"previous_category": "UTILITY", "new_category": "MARKETING"}
    impending = {"new_category": "UTILITY", "correct_category": "MARKETING"}
    category = "template_category_update"
    assert update(category, 1_789_999_999, **changed)[0] == "UTILITY", "newer things are known"
    assert update(category, 1_790_000_001, **impending)[0] == "UTILITY"
    assert update(category, 1_790_000_002, **changed)[0] == "MARKETING"
    status = "message_template_status_update"
    assert update(status, 1_790_000_003, event="PAUSED") == ("MARKETING", "PAUSED")
    assert update(status, 1_790_000_004, event="REINSTATED") == ("MARKETING", "APPROVED")
