"""send_claims."""

import sqlalchemy as sa
from alembic import op

from pytake.database.types import UtcDateTime

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "send_claim",
        sa.Column("message_id", sa.String(length=80), nullable=False),
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("claimed_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("message_id"),
    )
    with op.batch_alter_table("send_claim", schema=None) as batch_op:
        batch_op.create_index("ix_send_claim_claimed_at", ["claimed_at"], unique=False)


def downgrade() -> None:
    with op.batch_alter_table("send_claim", schema=None) as batch_op:
        batch_op.drop_index("ix_send_claim_claimed_at")

    op.drop_table("send_claim")
