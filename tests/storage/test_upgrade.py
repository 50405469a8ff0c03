"""A database that is in use is brought to the newest schema with its rows."""

from alembic import command
from alembic.config import Config
from sqlalchemy import text
from sqlmodel import Session

from pytake.storage import conversations, engine, send_claims
from pytake.storage.callbacks import unsignalled
from pytake.storage.engine import Database
from pytake.storage.numbers import open_alerts
from pytake.storage.tables import InboundMessage, Message
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
        (alert,) = open_alerts(session, "t")
        assert (alert.title, alert.detail) == ("Access token expired", "")
        assert conversations.get_reply(session, "w") is None
        # A message that went out before there were claims is not sent again either.
        assert list(send_claims.claim(session, [("m", "t"), ("new", "t")], NOW)) == ["m"]
    database.close()
