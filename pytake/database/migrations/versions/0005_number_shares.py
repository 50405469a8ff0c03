"""number_shares."""

import sqlalchemy as sa
from alembic import op

from pytake.database.types import UtcDateTime

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_TENANTS = (
    "api_key",
    "auto_reply",
    "business_hours",
    "contact",
    "conversation",
    "inbound_message",
    "message",
    "opt_out",
    "phone_number",
    "responder",
    "responder_rule",
    "send_attempt",
    "webhook_endpoint",
    "webhook_event",
)
"""Tables whose rows show that a tenant exists."""


def upgrade() -> None:
    op.create_table(
        "number_share",
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("phone_number_id", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "phone_number_id"),
    )
    with op.batch_alter_table("phone_number", schema=None) as batch_op:
        batch_op.add_column(sa.Column("owned_since", UtcDateTime(), nullable=True))
    _share_with_existing_tenants()


def _share_with_existing_tenants() -> None:
    """Share the configured number with every existing tenant, since all could send from it so far."""
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        # The queries scan all messages, which may take longer than the timeout.
        connection.execute(sa.text("SET LOCAL statement_timeout = 0"))
    tenants = {
        tenant
        for table in _TENANTS
        for (tenant,) in connection.execute(
            sa.text(f"SELECT DISTINCT tenant_id FROM {table}")  # noqa: S608 - names from above
        )
    }
    shared = connection.execute(sa.text("SELECT id, tenant_id FROM phone_number WHERE shared"))
    numbers = {row.id: row.tenant_id for row in shared}
    rows = [
        {"tenant": tenant, "number": number}
        for tenant in sorted(tenants - {"*", *numbers.values()})
        for number in ("", *sorted(numbers))
    ]
    if rows:
        connection.execute(
            sa.text(
                "INSERT INTO number_share (tenant_id, phone_number_id) VALUES (:tenant, :number)"
            ),
            rows,
        )


def downgrade() -> None:
    with op.batch_alter_table("phone_number", schema=None) as batch_op:
        batch_op.drop_column("owned_since")
    op.drop_table("number_share")
