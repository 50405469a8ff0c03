"""Field types shared by request bodies: names, texts, times, all bounded and clean."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import Query
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    StringConstraints,
    model_validator,
)

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.\-]{1,64}$")]
TenantQuery = Annotated[Name | None, Query(description="Another tenant, for admin keys")]
NumberQuery = Annotated[
    Annotated[str, StringConstraints(pattern=r"^\d{1,32}$")] | None, Query(description="A number")
]


def _iso_text(value: Any) -> Any:
    if not isinstance(value, str | datetime):
        raise ValueError("must be ISO 8601 text with an offset, like 2026-12-24T09:00:00-03:00")
    return value


def _in_range(value: datetime) -> datetime:
    """Check that every component can store the time; also after conversion to UTC."""
    if value.year not in _YEARS:
        raise ValueError(f"must be in the years {_YEARS[0]} to {_YEARS[-1]}")
    return value


_YEARS = range(1970, 2200)
"""Years that every component can store: Temporal counts nanoseconds since 1970 in 64 bits."""


IsoDatetime = Annotated[AwareDatetime, BeforeValidator(_iso_text), AfterValidator(_in_range)]


def clean_text(value: Any, depth: int = 0) -> None:
    """Refuse text that neither a database nor UTF-8 can hold, at any depth."""
    if depth > 20:
        raise ValueError("nested more than 20 levels deep")
    if isinstance(value, str):
        if "\0" in value:
            raise ValueError("contains a null character")
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise ValueError("contains half a surrogate pair, which is not valid Unicode")
    elif isinstance(value, dict):
        for key, item in value.items():
            clean_text(key, depth + 1)
            clean_text(item, depth + 1)
    elif isinstance(value, list):
        for item in value:
            clean_text(item, depth + 1)


class CleanText(BaseModel):
    """A body whose texts any database can store."""

    @model_validator(mode="before")
    @classmethod
    def _clean(cls, value: Any) -> Any:
        clean_text(value)
        return value
