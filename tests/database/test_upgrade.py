"""A database with rows of earlier versions is upgraded to the newest schema."""

import secrets
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import text
from sqlmodel import Session

from pytake.callback.tables import CallbackUpdate
from pytake.conversations import rule_store as rules
from pytake.conversations.inbox import unsignalled
from pytake.conversations.rules.rules import RuleFields
from pytake.conversations.state import get_reply
from pytake.conversations.tables import InboundMessage, ResponderRule
from pytake.database import engine
from pytake.database.engine import Database
from pytake.messages import claims as send_claims
from pytake.messages import gate as admission
from pytake.messages.gate import Candidate, Process
from pytake.messages.tables import Message
from pytake.numbers import owners as number_owners
from pytake.numbers.senders import SenderError
from pytake.numbers.store import open_alerts
from pytake.numbers.tables import PhoneNumber
from pytake.reconciliation import store as ended
from pytake.webhooks import endpoints, events
from pytake.webhooks.tables import WebhookDelivery, WebhookEndpoint
from tests.messages.samples import NOW

_ROWS = (
    (
        "INSERT INTO inbound_message (wamid, tenant_id, phone_number_id, contact_key, type, payload, sent_at, received_at) "
        "VALUES ('w', 't', '1', '55', 'text', '{}', :at, :at)"
    ),
    (
        "INSERT INTO alert (tenant_id, phone_number_id, kind, severity, code, title, advice, since) "
        "VALUES ('t', '1', 'number_held', 'critical', 190, 'Access token expired', 'x', :at)"
    ),
    (
        "INSERT INTO callback_update (id, tenant_id, field, payload, received_at) "
        "VALUES ('u', 't', 'account_alerts', '{}', :at)"
    ),
    (
        "INSERT INTO message (id, tenant_id, phone_number_id, recorded, generation, status, status_rank, check_window, "
        "attempts, fingerprint, superseded_wamids, created_at, updated_at) "
        "VALUES ('m', 't', '1', true, 0, 'read', 60, true, 1, '', '', :at, :at)"
    ),
)


def to_revision(database: Database, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(engine._MIGRATIONS))
    with database.engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def test_a_filled_database_of_the_previous_schema_is_upgraded(own_database_url: str) -> None:
    database = Database(own_database_url)
    to_revision(database, "0002")
    at = NOW if not database.sqlite else NOW.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    with database.engine.begin() as connection:
        for row in _ROWS:
            connection.execute(text(row), {"at": at})
    database.migrate()
    assert database.pending_migration() is None
    with Session(database.engine) as session:
        # Messages from before the upgrade are not answered.
        assert session.get_one(InboundMessage, "w").signalled_at == NOW
        assert unsignalled(session, NOW.replace(year=2030)) == []
        assert session.get_one(Message, "m").status == "read"
        kept = session.get_one(CallbackUpdate, "u")
        assert (kept.field, kept.account_id, kept.sent_at) == ("account_alerts", None, None)
        (alert,) = open_alerts(session, "t")
        assert (alert.title, alert.detail) == ("Access token expired", "")
        assert get_reply(session, "w") is None
        # A message sent before claims existed is not sent again either.
        assert list(send_claims.claim(session, [("m", "t"), ("new", "t")], NOW)) == ["m"]
        # The first reconciliation covers everything that Temporal still knows.
        assert ended.watermark(session, "reconcile") is None
    database.close()


_RULE = RuleFields.model_validate(
    {
        "name": "r",
        "trigger": {"type": "Keyword", "words": ["oi", "olá"]},
        "response": {"action": "SendMessage", "text": "x"},
    }
)
_TENANTS = (
    (
        "INSERT INTO phone_number (id, tenant_id, shared, portfolio_id, state, base_rate, current_rate, tier, probes) "
        "VALUES ('1', 'default', true, 'p', 'active', 80, 80, 'TIER_1K', 0)"
    ),
    (
        "INSERT INTO phone_number (id, tenant_id, shared, portfolio_id, state, base_rate, current_rate, tier, probes) "
        "VALUES ('2', 'has-a-number', false, 'p', 'active', 80, 80, 'TIER_1K', 0)"
    ),
    (
        "INSERT INTO api_key (id, tenant_id, admin, name, secret_hash, created_at) "
        "VALUES ('k', 'has-a-key', false, '', :secret, :at)"
    ),
    (
        "INSERT INTO message (id, tenant_id, phone_number_id, recorded, generation, status, status_rank, check_window, "
        "attempts, fingerprint, superseded_wamids, created_at, updated_at) "
        "VALUES ('m2', 'has-sent', '1', true, 0, 'read', 60, true, 1, '', '', :at, :at)"
    ),
    (
        "INSERT INTO opt_out (tenant_id, contact_key, at, source, detail) "
        "VALUES ('has-opt-outs', '55', :at, 'api', '')"
    ),
    "INSERT INTO responder (tenant_id, revision, installed_at) VALUES ('has-rules', 1, :at)",
    (
        "INSERT INTO responder_rule (tenant_id, id, body, created_at, updated_at) "
        "VALUES ('has-rules', 'old', :rule, :at, :at)"
    ),
)


def test_existing_tenants_may_still_send_from_the_installations_number(
    own_database_url: str, tmp_path: Path
) -> None:
    database = Database(_empty(own_database_url, tmp_path))
    to_revision(database, "0004")
    at = NOW if not database.sqlite else NOW.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    with database.engine.begin() as connection:
        for row in _TENANTS:
            connection.execute(
                text(row), {"at": at, "secret": b"x", "rule": _RULE.model_dump_json()}
            )
    database.migrate()
    senders = database.read_now(number_owners.senders, "1", 80.0)
    for tenant in ("default", "has-a-key", "has-sent", "has-opt-outs"):
        assert senders.default(tenant).phone_number_id == "1"
    assert senders.default("has-a-number").phone_number_id == "2"
    assert senders.named("has-a-number", "1").phone_number_id == "1"
    with pytest.raises(SenderError):
        senders.default("made-later")
    # If another number is configured later, they may send from it too.
    later = database.read_now(number_owners.senders, "9", 80.0)
    assert later.default("has-a-key").phone_number_id == "9"
    assert later.named("has-a-key", "1").phone_number_id == "1"
    # Existing rules are counted when the tenant next saves one.
    assert database.read_now(rules.problems, "has-rules") == {}
    with pytest.raises(rules.TooMuchError, match="at most 1 rules"):
        database.write_now(rules.create, "has-rules", "new", _RULE, NOW, most=1)
    database.write_now(rules.create, "has-rules", "new", _RULE, NOW, most=2)
    with Session(database.engine) as session:
        old = session.get_one(ResponderRule, ("has-rules", "old"))
        assert (old.words, old.word_bytes) == (2, 5)
    database.close()


def test_a_number_that_sends_keeps_its_pace(own_database_url: str, tmp_path: Path) -> None:
    """Slots taken by workers of the previous version stay taken; its rows have no rate parts."""
    database = Database(_empty(own_database_url, tmp_path))
    to_revision(database, "0009")
    taken = NOW + timedelta(seconds=2)
    at = taken if not database.sqlite else taken.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    with database.engine.begin() as connection:
        connection.execute(text(_TENANTS[0]))
        connection.execute(text("UPDATE phone_number SET next_slot_at = :at"), {"at": at})
    database.migrate()
    batch = [Candidate("1", "t", "55", counts=False)]
    lease, process = timedelta(seconds=30), Process("new", {})
    (first,) = database.write_now(admission.admit, batch, NOW, lease, process)
    assert first.send_at == taken
    with Session(database.engine) as session:
        number = session.get_one(PhoneNumber, "1")
        assert number.next_slot_at is not None
        assert number.next_slot_at > taken
        assert [sender["process"] for sender in number.rate_parts or ()] == ["new"]
        session.rollback()
    with database.engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(engine._MIGRATIONS))
        config.attributes["connection"] = connection
        command.downgrade(config, "0009")
    database.migrate()
    assert database.pending_migration() is None
    database.close()


def _empty(url: str, directory: Path) -> str:
    """A new database on the same server."""
    if url.startswith("sqlite"):
        return f"sqlite:///{directory / 'pytake.db'}"
    with psycopg.connect(url, autocommit=True) as connection:
        name = f"beside_{secrets.token_hex(4)}"
        connection.execute(f'CREATE DATABASE "{name}"')
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


_ENDPOINT = (
    "INSERT INTO webhook_endpoint (id, tenant_id, url, description, events, active, one_off, auth_type, sealed, "
    "max_retries, retry_schedule, backoff_initial, backoff_factor, backoff_max, backoff_jitter, timeout_seconds, "
    "rate_limit_per_second, ordered, failures, created_at, updated_at) VALUES ('whe_1', 't', 'https://x.example/', '', "
    "'[\"*\"]', true, false, 'None', :sealed, 8, '[]', 5, 3, 21600, 0.2, 15, 20, true, 2, :at, :at)"
)
_DELIVERY = (
    "INSERT INTO webhook_delivery (id, tenant_id, event_id, event_type, endpoint_id, conversation, sequence, status, run, "
    "attempts, created_at) VALUES ('dlv_1', 't', 'evt_1', 'a.b', 'whe_1', '', 1, 'pending', 0, 0, :at)"
)


def test_an_endpoint_keeps_its_key_in_temporal(own_database_url: str, tmp_path: Path) -> None:
    """Deliveries in flight and an endpoint's rate use its key, which was its id until 0007."""
    database = Database(_empty(own_database_url, tmp_path))
    to_revision(database, "0007")
    at = NOW if not database.sqlite else NOW.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    with database.engine.begin() as connection:
        connection.execute(text(_ENDPOINT), {"at": at, "sealed": b"s"})
        connection.execute(text(_DELIVERY), {"at": at})
    database.migrate()
    with Session(database.engine) as session:
        endpoint = endpoints.get(session, "t", "whe_1")
        assert endpoint is not None
        assert (endpoint.fairness_key, endpoint.events, endpoint.sealed) == ("whe_1", ["*"], b"s")
        assert (endpoint.updated_at, endpoint.failures, endpoint.active) == (NOW, 2, True)
        (swept,) = events.undispatched(session, NOW.replace(year=2030))
        assert (swept.endpoint_key, swept.delivery_id) == ("whe_1", "dlv_1")
        delivery = session.get_one(WebhookDelivery, "dlv_1")
        assert delivery.workflow_id == "webhook-evt_1-whe_1"
        # Another tenant may now use the same id, under a key of its own.
        other = WebhookEndpoint(**{**endpoint.model_dump(), "tenant_id": "u", "key": "whk_u"})
        assert endpoints.create(session, other)
        assert not endpoints.create(session, other)
        assert [row.fairness_key for row in endpoints.named(session, "whe_1")] == ["whe_1", "whk_u"]
        session.rollback()
    with database.engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(engine._MIGRATIONS))
        config.attributes["connection"] = connection
        command.downgrade(config, "0007")
    database.migrate()
    assert database.pending_migration() is None
    database.close()
