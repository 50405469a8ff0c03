"""callback: account and time of updates, groups, parts set aside."""

import sqlalchemy as sa
from alembic import op

from pytake.database.types import UtcDateTime

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("callback_update", sa.Column("account_id", sa.String(), nullable=True))
    op.add_column("callback_update", sa.Column("sent_at", UtcDateTime(), nullable=True))
    op.add_column("inbound_message", sa.Column("group_id", sa.String(), nullable=True))
    op.create_table(
        "callback_set_aside",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("account_id", sa.String(), nullable=True),
        sa.Column("phone_number_id", sa.String(), nullable=True),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("tried_at", UtcDateTime(), nullable=True),
        sa.Column("received_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_callback_set_aside_received_at", "callback_set_aside", ["received_at"])


def downgrade() -> None:
    op.drop_table("callback_set_aside")
    op.drop_column("inbound_message", "group_id")
    op.drop_column("callback_update", "sent_at")
    op.drop_column("callback_update", "account_id")
