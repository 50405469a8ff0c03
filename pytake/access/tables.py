"""API keys and the secrets of the installation."""

from datetime import datetime

from sqlalchemy import (
    Column,
    LargeBinary,
)
from sqlmodel import Field, SQLModel

from pytake.database.types import time_column


class ApiKey(SQLModel, table=True):
    """An API key; only a hash of its secret part is stored."""

    __tablename__ = "api_key"

    id: str = Field(primary_key=True, max_length=32)
    tenant_id: str = Field(index=True)
    admin: bool = False
    name: str = ""
    secret_hash: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    created_at: datetime = time_column(nullable=False)
    revoked_at: datetime | None = time_column()


class InstallSecret(SQLModel, table=True):
    """A secret that the installation generates for itself, such as the key that hashes contacts."""

    __tablename__ = "install_secret"

    name: str = Field(primary_key=True, max_length=40)
    tenant_id: str = "*"
    value: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
