"""first schema."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from pytake.database.types import UtcDateTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "alert",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("phone_number_id", sa.String(), nullable=True),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("severity", sa.String(), nullable=False),
        sa.Column("code", sa.Integer(), nullable=True),
        sa.Column("title", sa.String(), nullable=False),
        sa.Column("advice", sa.String(), nullable=False),
        sa.Column("since", UtcDateTime(), nullable=False),
        sa.Column("ended_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("alert", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_alert_tenant_id"), ["tenant_id"], unique=False)

    op.create_table(
        "api_key",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("admin", sa.Boolean(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("secret_hash", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("revoked_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("api_key", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_api_key_tenant_id"), ["tenant_id"], unique=False)

    op.create_table(
        "callback_update",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("field", sa.String(), nullable=False),
        sa.Column("problem", sa.String(), nullable=True),
        sa.Column(
            "payload", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column("received_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("callback_update", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_callback_update_received_at"), ["received_at"], unique=False
        )
        batch_op.create_index(
            batch_op.f("ix_callback_update_tenant_id"), ["tenant_id"], unique=False
        )

    op.create_table(
        "contact",
        sa.Column("phone_number_id", sa.String(length=64), nullable=False),
        sa.Column("contact_key", sa.String(length=128), nullable=False),
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("wa_id", sa.String(), nullable=True),
        sa.Column("user_id", sa.String(), nullable=True),
        sa.Column("name", sa.String(), nullable=True),
        sa.Column("first_inbound_at", UtcDateTime(), nullable=False),
        sa.Column("last_inbound_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("phone_number_id", "contact_key"),
    )
    with op.batch_alter_table("contact", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_contact_tenant_id"), ["tenant_id"], unique=False)

    op.create_table(
        "inbound_message",
        sa.Column("wamid", sa.String(length=512), nullable=False),
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("phone_number_id", sa.String(), nullable=False),
        sa.Column("contact_key", sa.String(), nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column(
            "payload", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column("sent_at", UtcDateTime(), nullable=False),
        sa.Column("received_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("wamid"),
    )
    with op.batch_alter_table("inbound_message", schema=None) as batch_op:
        batch_op.create_index(
            "ix_inbound_contact", ["phone_number_id", "contact_key", "sent_at"], unique=False
        )
        batch_op.create_index(
            batch_op.f("ix_inbound_message_tenant_id"), ["tenant_id"], unique=False
        )

    op.create_table(
        "install_secret",
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "message",
        sa.Column("id", sa.String(length=80), nullable=False),
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("phone_number_id", sa.String(), nullable=False),
        sa.Column("recorded", sa.Boolean(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(), nullable=True),
        sa.Column("status_rank", sa.Integer(), nullable=False),
        sa.Column("recipient", sa.String(), nullable=True),
        sa.Column("contact_key", sa.String(), nullable=True),
        sa.Column("wa_id", sa.String(), nullable=True),
        sa.Column("message_type", sa.String(), nullable=True),
        sa.Column("priority", sa.String(), nullable=True),
        sa.Column(
            "content", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=True
        ),
        sa.Column(
            "metadata", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=True
        ),
        sa.Column("waits", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=True),
        sa.Column("reply_to", sa.String(), nullable=True),
        sa.Column("check_window", sa.Boolean(), nullable=False),
        sa.Column("max_attempts", sa.Integer(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("fingerprint", sa.String(), nullable=False),
        sa.Column("wamid", sa.String(), nullable=True),
        sa.Column("superseded_wamids", sa.Text(), nullable=False),
        sa.Column("error_code", sa.Integer(), nullable=True),
        sa.Column("error_class", sa.String(), nullable=True),
        sa.Column("error_title", sa.String(), nullable=True),
        sa.Column("error_detail", sa.String(), nullable=True),
        sa.Column("error_advice", sa.String(), nullable=True),
        sa.Column("pricing_category", sa.String(), nullable=True),
        sa.Column("pricing_type", sa.String(), nullable=True),
        sa.Column("billable", sa.Boolean(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("scheduled_for", UtcDateTime(), nullable=True),
        sa.Column("expires_at", UtcDateTime(), nullable=True),
        sa.Column("accepted_at", UtcDateTime(), nullable=True),
        sa.Column("sent_at", UtcDateTime(), nullable=True),
        sa.Column("delivered_at", UtcDateTime(), nullable=True),
        sa.Column("read_at", UtcDateTime(), nullable=True),
        sa.Column("played_at", UtcDateTime(), nullable=True),
        sa.Column("failed_at", UtcDateTime(), nullable=True),
        sa.Column("cancelled_at", UtcDateTime(), nullable=True),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("message", schema=None) as batch_op:
        batch_op.create_index(
            "ix_message_tenant_contact", ["tenant_id", "contact_key", "created_at"], unique=False
        )
        batch_op.create_index(
            "ix_message_tenant_created", ["tenant_id", "created_at", "id"], unique=False
        )
        batch_op.create_index(
            "ix_message_tenant_status", ["tenant_id", "status", "created_at"], unique=False
        )
        batch_op.create_index(batch_op.f("ix_message_updated_at"), ["updated_at"], unique=False)
        batch_op.create_index(batch_op.f("ix_message_wamid"), ["wamid"], unique=False)

    op.create_table(
        "phone_number",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("shared", sa.Boolean(), nullable=False),
        sa.Column("portfolio_id", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("base_rate", sa.Float(), nullable=False),
        sa.Column("current_rate", sa.Float(), nullable=False),
        sa.Column("tier", sa.String(), nullable=False),
        sa.Column("reported_tier", sa.String(), nullable=True),
        sa.Column("reason_code", sa.Integer(), nullable=True),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("advice", sa.String(), nullable=True),
        sa.Column("state_since", UtcDateTime(), nullable=True),
        sa.Column("rate_changed_at", UtcDateTime(), nullable=True),
        sa.Column("next_slot_at", UtcDateTime(), nullable=True),
        sa.Column("probes", sa.Integer(), nullable=False),
        sa.Column("next_probe_at", UtcDateTime(), nullable=True),
        sa.Column("probe_lease_until", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("phone_number", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_phone_number_tenant_id"), ["tenant_id"], unique=False)

    op.create_table(
        "process_heartbeat",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=False),
        sa.Column("seen_at", UtcDateTime(), nullable=False),
        sa.Column(
            "sending", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("process_heartbeat", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_process_heartbeat_seen_at"), ["seen_at"], unique=False)

    op.create_table(
        "send_attempt",
        sa.Column("message_id", sa.String(length=80), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("priority", sa.String(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("error_code", sa.Integer(), nullable=True),
        sa.Column("error_class", sa.String(), nullable=False),
        sa.Column("error_title", sa.String(), nullable=False),
        sa.Column("error_detail", sa.String(), nullable=False),
        sa.Column("next_retry_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("message_id", "generation", "attempt"),
    )
    with op.batch_alter_table("send_attempt", schema=None) as batch_op:
        batch_op.create_index("ix_send_attempt_retry", ["tenant_id", "next_retry_at"], unique=False)

    op.create_table(
        "window_entry",
        sa.Column("portfolio_id", sa.String(length=64), nullable=False),
        sa.Column("contact_key", sa.String(length=128), nullable=False),
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("last_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("portfolio_id", "contact_key"),
    )
    with op.batch_alter_table("window_entry", schema=None) as batch_op:
        batch_op.create_index("ix_window_entry_last", ["portfolio_id", "last_at"], unique=False)


def downgrade() -> None:
    with op.batch_alter_table("window_entry", schema=None) as batch_op:
        batch_op.drop_index("ix_window_entry_last")

    op.drop_table("window_entry")
    with op.batch_alter_table("send_attempt", schema=None) as batch_op:
        batch_op.drop_index("ix_send_attempt_retry")

    op.drop_table("send_attempt")
    with op.batch_alter_table("process_heartbeat", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_process_heartbeat_seen_at"))

    op.drop_table("process_heartbeat")
    with op.batch_alter_table("phone_number", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_phone_number_tenant_id"))

    op.drop_table("phone_number")
    with op.batch_alter_table("message", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_message_wamid"))
        batch_op.drop_index(batch_op.f("ix_message_updated_at"))
        batch_op.drop_index("ix_message_tenant_status")
        batch_op.drop_index("ix_message_tenant_created")
        batch_op.drop_index("ix_message_tenant_contact")

    op.drop_table("message")
    op.drop_table("install_secret")
    with op.batch_alter_table("inbound_message", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_inbound_message_tenant_id"))
        batch_op.drop_index("ix_inbound_contact")

    op.drop_table("inbound_message")
    with op.batch_alter_table("contact", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_contact_tenant_id"))

    op.drop_table("contact")
    with op.batch_alter_table("callback_update", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_callback_update_tenant_id"))
        batch_op.drop_index(batch_op.f("ix_callback_update_received_at"))

    op.drop_table("callback_update")
    with op.batch_alter_table("api_key", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_api_key_tenant_id"))

    op.drop_table("api_key")
    with op.batch_alter_table("alert", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_alert_tenant_id"))

    op.drop_table("alert")
