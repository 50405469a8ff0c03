"""rate_parts."""

import sqlalchemy as sa
from alembic import op

from pytake.database.types import json_type

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("phone_number", schema=None) as batch_op:
        batch_op.add_column(sa.Column("rate_parts", json_type(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("phone_number", schema=None) as batch_op:
        batch_op.drop_column("rate_parts")
