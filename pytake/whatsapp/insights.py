"""Meta's management calls: numbers, message counts, prices and templates.

The calls have a budget per app and account; Meta reports how much of it is used in the header
``X-Business-Use-Case-Usage``, which :class:`Usage` reads.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final

from pytake.whatsapp.client import CloudApi, RefusedError
from pytake.whatsapp.counts import Day, Template
from pytake.whatsapp.number_health import NumberHealth, read_health

_FIELDS: Final = (
    "display_phone_number,verified_name,quality_rating,status,name_status,code_verification_status,"
    "throughput,platform_type,whatsapp_business_manager_messaging_limit,health_status"
)
_BASIC_FIELDS: Final = "display_phone_number,verified_name,quality_rating,code_verification_status"
"""Fields that every API version knows: one unknown field fails the whole call."""
_INVALID_PARAMETER: Final = 100
_TEMPLATES_PER_CALL: Final = 10
"""Meta's limit on ``template_ids``."""


@dataclass(frozen=True, slots=True)
class Usage:
    """How much of the budget of management calls is used."""

    percent: float = 0.0
    regain_minutes: float = 0.0
    """Minutes for which Meta refuses calls; 0 if it does not."""


def read_usage(headers: Mapping[str, str]) -> Usage:
    """The highest usage that the header reports."""
    try:
        accounts = json.loads(headers.get("x-business-use-case-usage", "{}"))
        entries = [entry for account in accounts.values() for entry in account]
        return Usage(
            max(
                (float(entry.get(name) or 0) for entry in entries for name in _USAGES), default=0.0
            ),
            max(
                (float(entry.get("estimated_time_to_regain_access") or 0) for entry in entries),
                default=0.0,
            ),
        )
    except (ValueError, AttributeError, TypeError):
        return Usage()


_USAGES: Final = ("call_count", "total_cputime", "total_time")


async def fetch_number(api: CloudApi, phone_number_id: str) -> tuple[NumberHealth, Usage]:
    """A number's fields; a smaller set if the API version does not know them all.

    Raises:
        RefusedError, NotSentError.
    """
    try:
        body, headers = await api.get_with_headers(phone_number_id, fields=_FIELDS)
    except RefusedError as error:
        if error.code != _INVALID_PARAMETER:
            raise
        body, headers = await api.get_with_headers(phone_number_id, fields=_BASIC_FIELDS)
    return read_health(body), read_usage(headers)


async def fetch_days(
    api: CloudApi, account_id: str, display_number: str, first: date, last: date
) -> tuple[dict[date, Day], Usage]:
    """Messages, and prices by category, per day; one call.

    Raises:
        RefusedError, NotSentError.
    """
    start, end = _seconds(first), _seconds(last + timedelta(days=1))
    digits = "".join(c for c in display_number if c.isdigit())
    numbers = f".phone_numbers([{digits}])"
    period = f".start({start}).end({end})"
    fields = (
        f"analytics{period}.granularity(DAY){numbers},"
        f"pricing_analytics{period}.granularity(DAILY){numbers}"
        ".metric_types([COST,VOLUME]).dimensions([PRICING_CATEGORY])"
    )
    body, headers = await api.get_with_headers(account_id, fields=fields)
    days: dict[date, Day] = defaultdict(Day)
    for point in _points(body.get("analytics")):
        day = days[_day(point)]
        day.sent += _count(point, "sent")
        day.delivered += _count(point, "delivered")
    for point in _points(body.get("pricing_analytics")):
        day = days[_day(point)]
        category = str(point.get("pricing_category") or "UNKNOWN").upper()
        volume, cost = day.categories.get(category, (0, 0.0))
        day.categories[category] = (
            volume + _count(point, "volume"),
            round(cost + _amount(point.get("cost")), 6),
        )
    return dict(days), read_usage(headers)


async def fetch_templates(
    api: CloudApi, account_id: str, name: str | None = None
) -> list[Template]:
    """The account's templates; with ``name``, only those of that name.

    Raises:
        RefusedError, NotSentError.
    """
    found: list[Template] = []
    after: dict[str, str] = {"name": name} if name else {}
    while True:
        body = await api.get(
            f"{account_id}/message_templates",
            fields="id,name,language,category,status,quality_score",
            limit="200",
            **after,
        )
        listed = [template for item in _objects(body.get("data")) if (template := _template(item))]
        found += [template for template in listed if name in (None, template.name)]
        paging = body.get("paging")
        cursors = paging.get("cursors") if isinstance(paging, dict) and paging.get("next") else None
        if not isinstance(cursors, dict) or not cursors.get("after"):
            return found
        after["after"] = str(cursors["after"])


async def fetch_template_days(
    api: CloudApi, account_id: str, template_ids: list[str], first: date, last: date
) -> dict[tuple[str, date], dict[str, int]]:
    """Counts of sent, delivered, read and clicked, by (template id, day).

    Raises:
        RefusedError, NotSentError.
    """
    counts: dict[tuple[str, date], dict[str, int]] = {}
    for start in range(0, len(template_ids), _TEMPLATES_PER_CALL):
        body = await api.get(
            f"{account_id}/template_analytics",
            start=str(_seconds(first)),
            end=str(_seconds(last + timedelta(days=1))),
            granularity="daily",
            metric_types="sent,delivered,read,clicked",
            template_ids=json.dumps(template_ids[start : start + _TEMPLATES_PER_CALL]),
        )
        for point in _points(body):
            clicked = sum(_count(item, "count") for item in _objects(point.get("clicked")))
            counts[str(point.get("template_id")), _day(point)] = {
                **{name: _count(point, name) for name in ("sent", "delivered", "read")},
                "clicked": clicked,
            }
    return counts


def _points(node: Any) -> Iterator[dict[str, Any]]:
    """The data points of an analytics field, whatever its nesting."""
    if not isinstance(node, dict):
        return
    yield from _objects(node.get("data_points"))
    for item in _objects(node.get("data")):
        yield from _objects(item.get("data_points"))


def _template(item: dict[str, Any]) -> Template | None:
    name = item.get("name")
    if not isinstance(name, str) or not 0 < len(name) <= 512:
        return None
    quality = item.get("quality_score")
    return Template(
        id=str(item.get("id") or ""),
        name=name,
        language=str(item.get("language") or "")[:20],
        category=str(item.get("category") or "UNKNOWN").upper(),
        status=str(item.get("status") or "UNKNOWN").upper(),
        quality=str(quality["score"]) if isinstance(quality, dict) and "score" in quality else None,
    )


def _objects(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _seconds(day: date) -> int:
    return int(datetime.combine(day, time(), UTC).timestamp())


def _day(point: dict[str, Any]) -> date:
    try:
        return datetime.fromtimestamp(int(point["start"]), UTC).date()
    except (KeyError, TypeError, ValueError, OverflowError, OSError):
        return date.min


def _count(point: dict[str, Any], name: str) -> int:
    value = point.get(name)
    return value if isinstance(value, int) else 0


def _amount(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
