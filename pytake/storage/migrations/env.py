"""Alembic's environment: migrates the connection that ``Database.migrate`` hands over."""

from alembic import context
from sqlmodel import SQLModel

import pytake.storage.metrics_tables
import pytake.storage.responder_tables
import pytake.storage.tables
import pytake.storage.webhook_tables  # noqa: F401 - all register their tables

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=SQLModel.metadata,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
