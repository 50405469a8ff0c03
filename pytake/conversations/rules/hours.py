"""Business hours: when somebody is there, in the time zone of the business."""

from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Annotated, Any, Final, Literal, Self, TypeAlias
from zoneinfo import ZoneInfo, available_timezones

import holidays
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    field_validator,
    model_validator,
)

WEEKDAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
Weekday: TypeAlias = Literal[
    "monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"
]
_HORIZON: Final = 370
"""Days that are searched for an opening or a closing."""
_CLOCK: Final = r"^([01]\d|2[0-3]):[0-5]\d$|^24:00$"

Clock = Annotated[str, StringConstraints(pattern=_CLOCK)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Interval(_Model):
    """``{"start": "09:00", "end": "18:00"}``; an end at or before the start is on the next day."""

    start: Clock
    end: Clock

    @model_validator(mode="after")
    def _starts_on_the_day(self) -> Self:
        if self.start == "24:00":
            raise ValueError("start must be before 24:00: use 00:00 of the next day")
        return self


class SpecialDate(_Model):
    """A day that differs: closed without intervals, else open in those."""

    date: date
    name: Annotated[str, StringConstraints(max_length=100)] = ""
    intervals: list[Interval] = Field(default_factory=list, max_length=10)


class PublicHolidays(_Model):
    """Public holidays of a country and, with ``state``, of that part of it: closed all day.

    The codes are ISO 3166: ``BR`` and ``SP``. ``optional`` adds days that are customary but no
    law's, such as Carnaval in Brazil.
    """

    country: Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")]
    state: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]{1,10}$")] | None = None
    optional: bool = False

    @model_validator(mode="after")
    def _exist(self) -> Self:
        supported = holidays.list_supported_countries()
        if self.country not in supported:
            raise ValueError(f"no holidays are known for country {self.country!r}")
        if self.state is not None and self.state not in supported[self.country]:
            known = ", ".join(supported[self.country]) or "none"
            raise ValueError(f"{self.country} has no state {self.state!r}: its states are {known}")
        return self

    def name_of(self, day: date) -> str | None:
        """The holiday's name, or ``None``."""
        found: str | None = _calendar(self.country, self.state, self.optional).get(day)
        return found


@lru_cache(maxsize=256)
def _calendar(country: str, state: str | None, optional: bool) -> Any:
    categories: tuple[str, ...] = ("public",)
    if optional and "optional" in holidays.country_holidays(country).supported_categories:
        categories = ("public", "optional")
    return holidays.country_holidays(country, subdiv=state, categories=categories)


def _working_week() -> dict[Weekday, list[Interval]]:
    return {day: [Interval(start="09:00", end="18:00")] for day in WEEKDAYS[:5]}


class BusinessHours(_Model):
    """When a business answers, by default Monday to Friday from 9 to 18 in São Paulo.

    ``away`` says that nobody is there although it is open: rules with the trigger NoAgent answer.
    """

    timezone: str = "America/Sao_Paulo"
    weekly: dict[Weekday, list[Interval]] = Field(default_factory=_working_week)
    holidays: PublicHolidays | None = Field(default_factory=lambda: PublicHolidays(country="BR"))
    dates: list[SpecialDate] = Field(default_factory=list, max_length=366)
    away: bool = False

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        if value not in available_timezones():
            raise ValueError("not an IANA time zone: use a name like America/Sao_Paulo")
        return value

    @field_validator("weekly")
    @classmethod
    def _not_too_many(cls, value: dict[Weekday, list[Interval]]) -> dict[Weekday, list[Interval]]:
        if any(len(intervals) > 10 for intervals in value.values()):
            raise ValueError("a day takes at most 10 intervals")
        return value

    @model_validator(mode="after")
    def _dates_differ(self) -> Self:
        if len({item.date for item in self.dates}) < len(self.dates):
            raise ValueError("dates: each date may stand there once")
        return self

    @property
    def zone(self) -> ZoneInfo:
        """The time zone."""
        return ZoneInfo(self.timezone)

    def is_open(self, at: datetime) -> bool:
        """Whether it is open at a moment."""
        today = at.astimezone(self.zone).date()
        return any(
            start <= at < end
            for day in (today - timedelta(days=1), today)
            for start, end in self._openings(day)
        )

    def closed_since(self, at: datetime) -> datetime:
        """When the closed period of a moment began; the same for every moment of one period."""
        today = at.astimezone(self.zone).date()
        for back in range(_HORIZON):
            ends = [end for _, end in self._openings(today - timedelta(days=back)) if end <= at]
            if ends:
                # Yesterday's opening may go past midnight and end after one of today's.
                earlier = self._openings(today - timedelta(days=back + 1))
                return max([*ends, *(end for _, end in earlier if end <= at)])
        return datetime.min.replace(tzinfo=UTC)

    def next_opening(self, at: datetime) -> datetime | None:
        """The next opening after a moment; ``None`` if there is none within a year."""
        today = at.astimezone(self.zone).date()
        for ahead in range(_HORIZON):
            starts = [
                start for start, _ in self._openings(today + timedelta(days=ahead)) if start > at
            ]
            if starts:
                return min(starts)
        return None

    def holiday(self, day: date) -> str | None:
        """The name of the public holiday or special date that closes a day."""
        for special in self.dates:
            if special.date == day:
                return None if special.intervals else special.name or "data especial"
        return self.holidays.name_of(day) if self.holidays else None

    def _openings(self, day: date) -> list[tuple[datetime, datetime]]:
        """Start and end, in UTC, of the openings that begin on a day."""
        special = next((item for item in self.dates if item.date == day), None)
        if special is not None:
            intervals = special.intervals
        elif self.holidays is not None and self.holidays.name_of(day):
            intervals = []
        else:
            intervals = self.weekly.get(WEEKDAYS[day.weekday()], [])
        return [self._span(day, interval) for interval in intervals]

    def _span(self, day: date, interval: Interval) -> tuple[datetime, datetime]:
        over_midnight = interval.end <= interval.start or interval.end == "24:00"
        end_day = day + timedelta(days=1) if over_midnight else day
        return self._moment(day, interval.start), self._moment(end_day, interval.end)

    def _moment(self, day: date, clock: str) -> datetime:
        hour, minute = int(clock[:2]) % 24, int(clock[3:])
        return datetime.combine(day, time(hour, minute), tzinfo=self.zone).astimezone(UTC)
