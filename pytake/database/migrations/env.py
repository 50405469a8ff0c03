"""Alembic's environment: migrates the connection that ``Database.migrate`` hands over."""

from alembic import context
from sqlmodel import SQLModel

# Each registers its tables.
import pytake.access.tables
import pytake.callback.tables
import pytake.contacts.tables
import pytake.conversations.tables
import pytake.insights.tables
import pytake.messages.tables
import pytake.numbers.tables
import pytake.process.tables
import pytake.reconciliation.tables
import pytake.templates.tables
import pytake.webhooks.tables  # noqa: F401

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=SQLModel.metadata,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
