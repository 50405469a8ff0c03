"""auto_responder_and_metrics."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from pytake.database.types import UtcDateTime

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "auto_reply",
        sa.Column("key", sa.String(length=512), nullable=False),
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("phone_number_id", sa.String(), nullable=False),
        sa.Column("contact_key", sa.String(), nullable=False),
        sa.Column("recipient", sa.String(), nullable=False),
        sa.Column("rule_id", sa.String(), nullable=True),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column(
            "messages", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column("reply_to", sa.String(), nullable=True),
        sa.Column("delay_seconds", sa.Float(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )
    with op.batch_alter_table("auto_reply", schema=None) as batch_op:
        batch_op.create_index(
            "ix_auto_reply_conversation",
            ["tenant_id", "phone_number_id", "contact_key", "at"],
            unique=False,
        )
        batch_op.create_index(
            "ix_auto_reply_uses", ["tenant_id", "contact_key", "rule_id", "at"], unique=False
        )

    op.create_table(
        "business_hours",
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("phone_number_id", sa.String(length=64), nullable=False),
        sa.Column("body", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "phone_number_id"),
    )
    op.create_table(
        "conversation",
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("phone_number_id", sa.String(length=64), nullable=False),
        sa.Column("contact_key", sa.String(length=128), nullable=False),
        sa.Column("menu_rule_id", sa.String(), nullable=True),
        sa.Column(
            "menu_path", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=True
        ),
        sa.Column("menu_at", UtcDateTime(), nullable=True),
        sa.Column("handover_at", UtcDateTime(), nullable=True),
        sa.Column("handover_active_at", UtcDateTime(), nullable=True),
        sa.Column("handover_by", sa.String(), nullable=True),
        sa.Column("department", sa.String(), nullable=True),
        sa.Column("muted_until", UtcDateTime(), nullable=True),
        sa.Column("tags", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column("uses_since", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "phone_number_id", "contact_key"),
    )
    op.create_table(
        "meta_day",
        sa.Column("phone_number_id", sa.String(length=64), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("sent", sa.Integer(), nullable=False),
        sa.Column("delivered", sa.Integer(), nullable=False),
        sa.Column(
            "categories", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column("fetched_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("phone_number_id", "day"),
    )
    op.create_table(
        "meta_template",
        sa.Column("portfolio_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=512), nullable=False),
        sa.Column("language", sa.String(length=20), nullable=False),
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("template_id", sa.String(), nullable=False),
        sa.Column("category", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("quality", sa.String(), nullable=True),
        sa.Column("known_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("portfolio_id", "name", "language"),
    )
    op.create_table(
        "meta_template_day",
        sa.Column("portfolio_id", sa.String(length=64), nullable=False),
        sa.Column("template_id", sa.String(length=64), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("sent", sa.Integer(), nullable=False),
        sa.Column("delivered", sa.Integer(), nullable=False),
        sa.Column("read", sa.Integer(), nullable=False),
        sa.Column("clicked", sa.Integer(), nullable=False),
        sa.Column("fetched_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("portfolio_id", "template_id", "day"),
    )
    op.create_table(
        "number_change",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("phone_number_id", sa.String(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("field", sa.String(), nullable=False),
        sa.Column("before", sa.String(), nullable=True),
        sa.Column("after", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("number_change", schema=None) as batch_op:
        batch_op.create_index("ix_number_change", ["phone_number_id", "at"], unique=False)

    op.create_table(
        "number_snapshot",
        sa.Column("phone_number_id", sa.String(length=64), nullable=False),
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("body", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=True),
        sa.Column("fetched_at", UtcDateTime(), nullable=True),
        sa.Column("attempted_at", UtcDateTime(), nullable=False),
        sa.Column(
            "problem", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=True
        ),
        sa.Column("days_fetched_at", UtcDateTime(), nullable=True),
        sa.Column("blocked_until", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("phone_number_id"),
    )
    with op.batch_alter_table("number_snapshot", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_number_snapshot_tenant_id"), ["tenant_id"], unique=False
        )

    op.create_table(
        "opt_out",
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("contact_key", sa.String(length=128), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("detail", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "contact_key"),
    )
    op.create_table(
        "responder",
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("installed_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id"),
    )
    op.create_table(
        "responder_rule",
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("body", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "id"),
    )
    with op.batch_alter_table("alert", schema=None) as batch_op:
        batch_op.add_column(sa.Column("detail", sa.String(), nullable=False, server_default=""))

    with op.batch_alter_table("inbound_message", schema=None) as batch_op:
        batch_op.add_column(sa.Column("signalled_at", UtcDateTime(), nullable=True))
        batch_op.add_column(sa.Column("handled_by", sa.String(), nullable=True))
        batch_op.create_index(
            "ix_inbound_unsignalled", ["signalled_at", "received_at"], unique=False
        )

    with op.batch_alter_table("message", schema=None) as batch_op:
        batch_op.create_index(
            "ix_message_number_accepted", ["phone_number_id", "accepted_at"], unique=False
        )
        batch_op.create_index(
            "ix_message_tenant_accepted", ["tenant_id", "accepted_at"], unique=False
        )
    # Messages from before the auto-responder existed are not answered.
    op.execute("UPDATE inbound_message SET signalled_at = received_at")


def downgrade() -> None:
    with op.batch_alter_table("message", schema=None) as batch_op:
        batch_op.drop_index("ix_message_tenant_accepted")
        batch_op.drop_index("ix_message_number_accepted")

    with op.batch_alter_table("inbound_message", schema=None) as batch_op:
        batch_op.drop_index("ix_inbound_unsignalled")
        batch_op.drop_column("handled_by")
        batch_op.drop_column("signalled_at")

    with op.batch_alter_table("alert", schema=None) as batch_op:
        batch_op.drop_column("detail")

    op.drop_table("responder_rule")
    op.drop_table("responder")
    op.drop_table("opt_out")
    with op.batch_alter_table("number_snapshot", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_number_snapshot_tenant_id"))

    op.drop_table("number_snapshot")
    with op.batch_alter_table("number_change", schema=None) as batch_op:
        batch_op.drop_index("ix_number_change")

    op.drop_table("number_change")
    op.drop_table("meta_template_day")
    op.drop_table("meta_template")
    op.drop_table("meta_day")
    op.drop_table("conversation")
    op.drop_table("business_hours")
    with op.batch_alter_table("auto_reply", schema=None) as batch_op:
        batch_op.drop_index("ix_auto_reply_uses")
        batch_op.drop_index("ix_auto_reply_conversation")

    op.drop_table("auto_reply")
