"""Tables of contacts: when they last wrote, and who opted out."""

from datetime import datetime

from sqlmodel import Field, SQLModel

from pytake.database.types import time_column


class Contact(SQLModel, table=True):
    """A person who wrote to one of the numbers."""

    phone_number_id: str = Field(primary_key=True, max_length=64)
    contact_key: str = Field(primary_key=True, max_length=128)
    tenant_id: str = Field(index=True)
    wa_id: str | None = None
    user_id: str | None = None
    name: str | None = None
    first_inbound_at: datetime = time_column(nullable=False)
    last_inbound_at: datetime = time_column(nullable=False)


class OptOut(SQLModel, table=True):
    """A contact who wants no marketing messages of a tenant."""

    __tablename__ = "opt_out"

    tenant_id: str = Field(primary_key=True, max_length=64)
    contact_key: str = Field(primary_key=True, max_length=128)
    at: datetime = time_column(nullable=False)
    source: str
    """``message``, ``whatsapp`` (user_preferences) or ``api``."""
    detail: str = ""
