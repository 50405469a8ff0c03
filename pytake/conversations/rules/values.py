"""The values of variables, in Portuguese: greeting, date, business hours in words."""

from collections.abc import Mapping
from datetime import datetime
from itertools import groupby
from typing import Final

from pytake.conversations.rules.hours import WEEKDAYS, BusinessHours

_DAYS: Final = ("segunda", "terça", "quarta", "quinta", "sexta", "sábado", "domingo")
_LONG_DAYS: Final = (
    "segunda-feira",
    "terça-feira",
    "quarta-feira",
    "quinta-feira",
    "sexta-feira",
    "sábado",
    "domingo",
)


def values(
    *, at: datetime, hours: BusinessHours, name: str | None, phone: str, message: str
) -> Mapping[str, str]:
    """What each variable stands for."""
    local = at.astimezone(hours.zone)
    name = " ".join((name or "").split())
    return {
        "name": name,
        "first_name": name.split(" ")[0],
        "phone": phone,
        "message": message,
        "greeting": "Bom dia"
        if 5 <= local.hour < 12
        else "Boa tarde"
        if 12 <= local.hour < 18
        else "Boa noite",
        "date": f"{local:%d/%m/%Y}",
        "time": f"{local:%H:%M}",
        "weekday": _LONG_DAYS[local.weekday()],
        "business_hours": describe(hours),
        "opens_at": describe_opening(hours, at),
    }


def describe(hours: BusinessHours) -> str:
    """The week in words, days with equal hours together: ``segunda a sexta, 09:00 às 18:00``."""
    days = [
        (
            name,
            " e ".join(f"{i.start} às {i.end}" for i in hours.weekly.get(key, [])),  # type: ignore[call-overload]
        )
        for name, key in zip(_DAYS, WEEKDAYS, strict=True)
    ]
    parts = []
    for times, group in groupby(days, key=lambda day: day[1]):
        names = [name for name, _ in group]
        if times:
            span = names[0] if len(names) == 1 else f"{names[0]} a {names[-1]}"
            parts.append(f"{span}, {times}")
    return "; ".join(parts) or "sem horário de atendimento"


def describe_opening(hours: BusinessHours, at: datetime) -> str:
    """When it opens next: ``hoje às 14:00``, ``amanhã às 09:00``, ``segunda-feira às 09:00``."""
    opens = hours.next_opening(at)
    if opens is None:
        return "em breve"
    local, today = opens.astimezone(hours.zone), at.astimezone(hours.zone).date()
    days = (local.date() - today).days
    if days == 0:
        day = "hoje"
    elif days == 1:
        day = "amanhã"
    elif days < 7:
        day = _LONG_DAYS[local.weekday()]
    else:
        day = f"{local:%d/%m/%Y}"
    return f"{day} às {local:%H:%M}"
