"""endpoint_keys: an endpoint is identified by tenant and id, and has its own key in Temporal."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("webhook_delivery", sa.Column("endpoint_key", sa.String(length=64)))
    op.add_column("webhook_endpoint", sa.Column("key", sa.String(length=64)))
    _named_by(["id", "tenant_id"])


def downgrade() -> None:
    _named_by(["id"])
    op.drop_column("webhook_endpoint", "key")
    op.drop_column("webhook_delivery", "endpoint_key")


def _named_by(names: list[str]) -> None:
    """Make these columns the primary key; on SQLite this copies the table."""
    bind = op.get_bind()
    if bind.dialect.name == "postgresql":
        op.drop_constraint("webhook_endpoint_pkey", "webhook_endpoint", type_="primary")
        op.create_primary_key("webhook_endpoint_pkey", "webhook_endpoint", names)
        return
    before = sa.Table("webhook_endpoint", sa.MetaData(), autoload_with=bind)
    after = sa.Table(
        "webhook_endpoint",
        sa.MetaData(),
        *(
            sa.Column(c.name, c.type, primary_key=c.name in names, nullable=c.nullable)
            for c in before.columns
        ),
        sa.Index("ix_webhook_endpoint_tenant_id", "tenant_id"),
    )
    with op.batch_alter_table("webhook_endpoint", recreate="always", copy_from=after):
        pass
