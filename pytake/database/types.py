"""Column types for both databases: times in UTC, JSON."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    Column,
    DateTime,
    Dialect,
    String,
    TypeDecorator,
)
from sqlalchemy.dialects import postgresql
from sqlmodel import Field


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC datetime: ``timestamptz`` on PostgreSQL, sortable ISO 8601 text on SQLite."""

    impl = String(27)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        """The dialect's column type."""
        if dialect.name == "postgresql":
            return dialect.type_descriptor(DateTime(timezone=True))
        return dialect.type_descriptor(String(27))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Convert a value for the driver."""
        if value is None or dialect.name == "postgresql":
            return value
        return iso(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Convert a value from the driver."""
        if value is None:
            return None
        if isinstance(value, str):
            value = datetime.fromisoformat(value)
        return value.astimezone(UTC)  # type: ignore[no-any-return]  # a datetime by now


def iso(value: datetime) -> str:
    """Fixed-width ISO 8601 in UTC, so that text compares as time does."""
    return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def json_type() -> Any:
    """JSON; JSONB on PostgreSQL."""
    return JSON().with_variant(postgresql.JSONB(), "postgresql")


def json_column(*, nullable: bool = True) -> Any:
    """A column of JSON."""
    return Column(json_type(), nullable=nullable)


def time_column(*, nullable: bool = True, index: bool = False) -> Any:
    """A field that holds a time."""
    return Field(default=None, sa_column=Column(UtcDateTime(), nullable=nullable, index=index))
