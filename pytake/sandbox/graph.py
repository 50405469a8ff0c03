"""Fields and pages of nodes, as in the Graph API."""

import base64
import re
from typing import Any, Final

from starlette.datastructures import URL

from pytake.sandbox.validation import GraphError

_FIELD: Final = re.compile(r"(\w+)((?:\.\w+\([^()]*\))*)")
_SUBFIELDS: Final = re.compile(r"\{[^{}]*\}")
_PAGE: Final = 25
_LARGEST_PAGE: Final = 500


def read_fields(fields: str) -> list[tuple[str, str]]:
    """The names in ``fields``, each with its arguments (``.start(1).end(2)``)."""
    return _FIELD.findall(_SUBFIELDS.sub("", fields))


def choose(node: dict[str, Any], fields: str, always: str = "id") -> dict[str, Any]:
    """``always`` and the fields asked for; without ``fields``, all.

    Raises:
        GraphError: a field is not known.
    """
    wanted = [name for name, _ in read_fields(fields)]
    if not wanted:
        return node
    for name in wanted:
        if name not in node:
            raise unknown_field(name)
    return {name: node[name] for name in [*wanted, always]}


def unknown_field(name: str) -> GraphError:
    """Meta's error for a field that a node does not have."""
    return GraphError(100, "Invalid parameter", f"Tried accessing nonexisting field ({name})")


def page(
    nodes: list[dict[str, Any]], url: URL, limit: int, after: str, before: str
) -> dict[str, Any]:
    """One page of ``nodes``, with its cursors, and ``next`` and ``previous`` where there is more.

    Raises:
        GraphError: a cursor is not one.
    """
    size = min(limit, _LARGEST_PAGE) if limit > 0 else _PAGE
    start = _place(after) + 1 if after else max(0, _place(before) - size) if before else 0
    end = min(start + size, _place(before)) if before else start + size
    data = nodes[start:end]
    if not data:
        return {"data": []}
    first, last = _cursor(start), _cursor(start + len(data) - 1)
    paging: dict[str, Any] = {"cursors": {"before": first, "after": last}}
    if start + len(data) < len(nodes):
        paging["next"] = _other_page(url, after=last)
    if start > 0:
        paging["previous"] = _other_page(url, before=first)
    return {"data": data, "paging": paging}


def _other_page(url: URL, **cursor: str) -> str:
    return str(url.remove_query_params(["after", "before"]).include_query_params(**cursor))


def _cursor(place: int) -> str:
    return base64.urlsafe_b64encode(str(place).encode()).decode().rstrip("=")


def _place(cursor: str) -> int:
    try:
        place = int(base64.urlsafe_b64decode(cursor[:40] + "=" * (-len(cursor[:40]) % 4)))
    except ValueError:
        place = -1
    if place < 0:
        raise GraphError(100, "Invalid parameter", "the cursor is not valid")
    return place
