"""A database that is in use is brought to the newest schema with its rows."""

from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import text
from sqlmodel import Session

from pytake.domain.senders import SenderError
from pytake.storage import conversations, ended, engine, number_owners, send_claims
from pytake.storage.callbacks import unsignalled
from pytake.storage.engine import Database
from pytake.storage.numbers import open_alerts
from pytake.storage.tables import CallbackUpdate, InboundMessage, Message
from tests.storage.test_receipts import NOW

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


def test_a_filled_database_of_the_schema_before_is_upgraded(own_database_url: str) -> None:
    database = Database(own_database_url)
    to_revision(database, "0002")
    at = NOW if not database.sqlite else NOW.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    with database.engine.begin() as connection:
        for row in _ROWS:
            connection.execute(text(row), {"at": at})
    database.migrate()
    assert database.pending_migration() is None
    with Session(database.engine) as session:
        # Old messages are no news: nobody is answered for what was said before the upgrade.
        assert session.get_one(InboundMessage, "w").signalled_at == NOW
        assert unsignalled(session, NOW.replace(year=2030)) == []
        assert session.get_one(Message, "m").status == "read"
        kept = session.get_one(CallbackUpdate, "u")
        assert (kept.field, kept.account_id, kept.sent_at) == ("account_alerts", None, None)
        (alert,) = open_alerts(session, "t")
        assert (alert.title, alert.detail) == ("Access token expired", "")
        assert conversations.get_reply(session, "w") is None
        # A message that went out before there were claims is not sent again either.
        assert list(send_claims.claim(session, [("m", "t"), ("new", "t")], NOW)) == ["m"]
        # Everything that Temporal still knows of is looked at once.
        assert ended.watermark(session, "reconcile") is None
    database.close()


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
)


def test_tenants_that_exist_may_go_on_sending_from_the_installations_number(
    own_database_url: str, tmp_path: Path
) -> None:
    database = Database(_empty(own_database_url, tmp_path))
    to_revision(database, "0004")
    at = NOW if not database.sqlite else NOW.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    with database.engine.begin() as connection:
        for row in _TENANTS:
            connection.execute(text(row), {"at": at, "secret": b"x"})
    database.migrate()
    senders = database.read_now(number_owners.senders, "1", 80.0)
    for tenant in ("default", "has-a-key", "has-sent", "has-opt-outs"):
        assert senders.default(tenant).phone_number_id == "1"
    assert senders.default("has-a-number").phone_number_id == "2"
    assert senders.named("has-a-number", "1").phone_number_id == "1"
    with pytest.raises(SenderError):
        senders.default("made-later")
    # Another number is configured: still theirs to send from, as before.
    later = database.read_now(number_owners.senders, "9", 80.0)
    assert later.default("has-a-key").phone_number_id == "9"
    assert later.named("has-a-key", "1").phone_number_id == "1"
    database.close()


def _empty(url: str, directory: Path) -> str:
    """A database beside the module's own."""
    if url.startswith("sqlite"):
        return f"sqlite:///{directory / 'pytake.db'}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE shares")
    return urlunsplit(urlsplit(url)._replace(path="/shares"))
