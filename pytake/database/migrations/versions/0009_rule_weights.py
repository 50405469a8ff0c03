"""rule_weights."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_COLUMNS = ("words", "word_bytes", "pattern_size", "body_bytes")
"""Existing rules are weighed when the tenant next saves one."""


def upgrade() -> None:
    with op.batch_alter_table("responder_rule", schema=None) as batch_op:
        for name in _COLUMNS:
            batch_op.add_column(sa.Column(name, sa.Integer(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("responder_rule", schema=None) as batch_op:
        for name in _COLUMNS:
            batch_op.drop_column(name)
