"""callback: account and time of updates, groups."""

import sqlalchemy as sa
from alembic import op

from pytake.storage.tables import UtcDateTime

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("callback_update", sa.Column("account_id", sa.String(), nullable=True))
    op.add_column("callback_update", sa.Column("sent_at", UtcDateTime(), nullable=True))
    op.add_column("inbound_message", sa.Column("group_id", sa.String(), nullable=True))


def downgrade() -> None:
    op.drop_column("inbound_message", "group_id")
    op.drop_column("callback_update", "sent_at")
    op.drop_column("callback_update", "account_id")
