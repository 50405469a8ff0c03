"""How far a repeated look has come."""

from datetime import datetime

from sqlmodel import Field, SQLModel

from pytake.database.types import time_column


class Watermark(SQLModel, table=True):
    """How far something that looks again and again has come: everything before ``at`` is settled."""

    name: str = Field(primary_key=True, max_length=40)
    tenant_id: str = "*"
    at: datetime = time_column(nullable=False)
