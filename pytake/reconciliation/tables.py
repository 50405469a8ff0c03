"""Watermarks of recurring passes."""

from datetime import datetime

from sqlmodel import Field, SQLModel

from pytake.database.types import time_column


class Watermark(SQLModel, table=True):
    """The progress of a recurring pass: everything before ``at`` is settled."""

    name: str = Field(primary_key=True, max_length=40)
    tenant_id: str = "*"
    at: datetime = time_column(nullable=False)
