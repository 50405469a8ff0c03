"""Templates as Meta lists them."""

from datetime import datetime

from sqlmodel import Field, SQLModel

from pytake.database.types import time_column


class MetaTemplate(SQLModel, table=True):
    """A template of an account, as Meta lists it."""

    __tablename__ = "meta_template"

    portfolio_id: str = Field(primary_key=True, max_length=64)
    name: str = Field(primary_key=True, max_length=512)
    language: str = Field(primary_key=True, max_length=20)
    tenant_id: str
    template_id: str = ""
    category: str
    status: str = "UNKNOWN"
    quality: str | None = None
    known_at: datetime = time_column(nullable=False)
