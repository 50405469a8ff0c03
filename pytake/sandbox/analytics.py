"""The sandbox's analytics in the Graph API's format, computed from accepted messages."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from typing import Any, Final

from pytake.sandbox.graph import read_fields, unknown_field
from pytake.sandbox.numbers import display_digits
from pytake.sandbox.state import AcceptedMessage, SandboxState
from pytake.sandbox.templates import node_id
from pytake.sandbox.validation import GraphError

PRICES: Final = {"marketing": 0.0625, "utility": 0.008, "authentication": 0.008, "service": 0.0}
"""US dollars per delivered message; invented, but constant."""

_SECONDS: Final = {
    "HALF_HOUR": 1800,
    "DAY": 86400,
    "DAILY": 86400,
    "MONTH": 30 * 86400,
    "MONTHLY": 30 * 86400,
}
_ARGUMENT: Final = re.compile(r"\.(\w+)\(([^()]*)\)")


def account_node(state: SandboxState, account: str, fields: str) -> dict[str, Any]:
    """The fields of an account, its analytics among them.

    Raises:
        GraphError: a field or an argument is not known.
    """
    own = account_fields(account)
    asked = read_fields(fields)
    node: dict[str, Any] = {} if asked else own
    for name, arguments in asked:
        given = dict(_ARGUMENT.findall(arguments))
        if name in _ANALYTICS:
            messages = list(_of_numbers(state, given.get("phone_numbers", "[]")))
            node[name] = _ANALYTICS[name](state, messages, given)
        elif name in own:
            node[name] = own[name]
        else:
            raise unknown_field(name)
    return {**node, "id": account}


def account_fields(account: str) -> dict[str, Any]:
    """What an account is, without its figures."""
    return {
        "id": account,
        "name": "PyTake Sandbox",
        "timezone_id": "25",
        "currency": "USD",
        "country": "BR",
        "message_template_namespace": f"pytake_{node_id(account)}",
        "account_review_status": "APPROVED",
        "business_verification_status": "verified",
        "ownership_type": "SELF",
        "status": "ACTIVE",
    }


def template_points(
    state: SandboxState, start: int, end: int, template_ids: list[str]
) -> dict[str, Any]:
    """``template_analytics``: by template and day."""
    points = []
    by_template: dict[tuple[str, int], list[AcceptedMessage]] = defaultdict(list)
    for message in state.messages:
        template = message.payload.get("template")
        if isinstance(template, dict) and start <= message.received_at < end:
            identity = node_id(str(template.get("name")))
            if identity in template_ids:
                by_template[identity, int(message.received_at // 86400) * 86400].append(message)
    for (identity, day), messages in sorted(by_template.items()):
        points.append(
            {
                "template_id": identity,
                "start": day,
                "end": day + 86400,
                "sent": _reached(state, messages, "sent"),
                "delivered": _reached(state, messages, "delivered"),
                "read": _reached(state, messages, "read"),
                "clicked": [],
            }
        )
    return {"data": [{"granularity": "DAILY", "data_points": points}]}


def _of_numbers(state: SandboxState, wanted: str) -> Iterator[AcceptedMessage]:
    numbers = {re.sub(r"\D", "", part) for part in wanted.strip("[]").split(",")} - {""}
    shown: dict[str, str] = {}
    for message in state.messages:
        number = message.phone_number_id
        if number not in shown:
            shown[number] = display_digits(state, number)
        if not numbers or shown[number] in numbers:
            yield message


def _buckets(
    messages: list[AcceptedMessage], given: dict[str, str]
) -> Iterator[tuple[int, int, list[AcceptedMessage]]]:
    try:
        start, end = int(given["start"]), int(given["end"])
        size = _SECONDS[given.get("granularity", "DAY")]
    except (KeyError, ValueError):
        raise GraphError(
            100, "Invalid parameter", "start, end and granularity are required"
        ) from None
    by_bucket: dict[int, list[AcceptedMessage]] = defaultdict(list)
    for message in messages:
        if start <= message.received_at < end:
            by_bucket[int(message.received_at // size) * size].append(message)
    for bucket, inside in sorted(by_bucket.items()):
        yield bucket, bucket + size, inside


def _reached(state: SandboxState, messages: list[AcceptedMessage], status: str) -> int:
    return sum(status in state.acknowledged[message.wamid] for message in messages)


def _analytics(
    state: SandboxState, messages: list[AcceptedMessage], given: dict[str, str]
) -> dict[str, Any]:
    points = [
        {
            "start": start,
            "end": end,
            "sent": _reached(state, inside, "sent"),
            "delivered": _reached(state, inside, "delivered"),
        }
        for start, end, inside in _buckets(messages, given)
    ]
    return {"granularity": given.get("granularity", "DAY"), "data_points": points}


def _by_category(
    state: SandboxState,
    messages: list[AcceptedMessage],
    given: dict[str, str],
    names: tuple[str, str, str],
) -> dict[str, Any]:
    category_name, volume_name, cost_name = names
    points = []
    for start, end, inside in _buckets(messages, given):
        delivered = [m for m in inside if "delivered" in state.acknowledged[m.wamid]]
        for category, count in sorted(Counter(state.category(m) for m in delivered).items()):
            points.append(
                {
                    "start": start,
                    "end": end,
                    category_name: category.upper(),
                    volume_name: count,
                    cost_name: round(count * PRICES[category], 4),
                }
            )
    return {"data": [{"data_points": points}]}


def _conversations(
    state: SandboxState, messages: list[AcceptedMessage], given: dict[str, str]
) -> dict[str, Any]:
    return _by_category(state, messages, given, ("conversation_category", "conversation", "cost"))


def _pricing(
    state: SandboxState, messages: list[AcceptedMessage], given: dict[str, str]
) -> dict[str, Any]:
    return _by_category(state, messages, given, ("pricing_category", "volume", "cost"))


_ANALYTICS: Final[
    dict[str, Callable[[SandboxState, list[AcceptedMessage], dict[str, str]], dict[str, Any]]]
] = {
    "analytics": _analytics,
    "conversation_analytics": _conversations,
    "pricing_analytics": _pricing,
}
