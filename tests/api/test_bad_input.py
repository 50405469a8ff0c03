"""Bad input gets a 4xx that names the field, and starts no workflow."""

import base64
import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.stack import EXAMPLE, Stack

pytestmark = pytest.mark.one_database

PAST = "2020-01-01T00:00:00+00:00"
SOON = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
FAR = (datetime.now(UTC) + timedelta(days=4000)).isoformat()
BUTTON = {"id": "1", "title": "Sim"}
ROW = {"id": "r", "title": "t"}


def content(message_type: str, value: Any) -> dict[str, Any]:
    return {"message_type": message_type, "content": value}


CASES: list[tuple[dict[str, Any], str]] = [
    ({"to": ""}, "to"),
    ({"to": "abc"}, "to"),
    ({"to": "12"}, "to"),
    ({"to": "+55 61 99401-38281234567"}, "to"),
    ({"to": "5561994013828; DROP TABLE message"}, "to"),
    ({"to": None}, "to"),
    ({"to": 5561994013828}, "to"),
    ({"to": "x" * 200}, "to"),
    ({"message_type": "carrier-pigeon"}, "message_type"),
    ({"message_type": None}, "message_type"),
    ({"content": None}, "content"),
    ({"content": "hello"}, "content"),
    ({"content": {}}, "content.name"),
    ({"content": {"name": "Não Pode", "language": "pt_BR"}}, "content.name"),
    ({"content": {"name": "ok", "language": "português"}}, "content.language"),
    ({"content": {"name": "ok", "language": "pt_BR", "parameters": [1]}}, "content.parameters[0]"),
    (
        {"content": {"name": "ok", "language": "pt_BR", "parameters": [], "components": []}},
        "content",
    ),
    ({"content": {"name": "ok", "language": "pt_BR", "surprise": 1}}, "content.surprise"),
    (
        {"content": {"name": "ok", "language": "pt_BR", "components": [{"type": "button"}]}},
        "content.components[0]",
    ),
    (content("text", {"body": ""}), "content.body"),
    (content("text", {"body": "   "}), "content.body"),
    (content("text", {"body": "x" * 4097}), "content.body"),
    (content("text", {"body": "a\0b"}), "body"),
    (content("media", {"media_type": "image"}), "content"),
    (content("media", {"media_type": "image", "url": "https://x.y/z", "id": "1"}), "content"),
    (content("media", {"media_type": "gif", "url": "https://x.y/z"}), "content.media_type"),
    (content("media", {"media_type": "image", "url": "ftp://x.y/z"}), "content.url"),
    (
        content("media", {"media_type": "image", "url": "https://x.y/z", "caption": "x" * 1025}),
        "content.caption",
    ),
    (content("media", {"media_type": "audio", "url": "https://x.y/z", "caption": "x"}), "content"),
    (
        content("media", {"media_type": "image", "url": "https://x.y/z", "filename": "x.png"}),
        "content",
    ),
    (content("interactive", {"body": "x"}), "content"),
    (content("interactive", {"body": "x", "buttons": []}), "content.buttons"),
    (
        content(
            "interactive",
            {"body": "x", "buttons": [{"id": str(i), "title": str(i)} for i in range(4)]},
        ),
        "content.buttons",
    ),
    (
        content("interactive", {"body": "x", "buttons": [BUTTON, {"id": "2", "title": "Sim"}]}),
        "content",
    ),
    (
        content("interactive", {"body": "x", "buttons": [{"id": "1", "title": "x" * 21}]}),
        "content.buttons[0].title",
    ),
    (content("interactive", {"body": "x" * 1025, "buttons": [BUTTON]}), "content"),
    (
        content("interactive", {"body": "x", "footer": "x" * 61, "buttons": [BUTTON]}),
        "content.footer",
    ),
    (
        content(
            "interactive",
            {
                "body": "x",
                "list": {
                    "button": "b",
                    "sections": [{"rows": [{"id": str(i), "title": "t"} for i in range(11)]}],
                },
            },
        ),
        "content.list.sections[0].rows",
    ),
    (
        content(
            "interactive",
            {
                "body": "x",
                "list": {
                    "button": "b",
                    "sections": [{"title": "a", "rows": [ROW]}, {"title": "b", "rows": [ROW]}],
                },
            },
        ),
        "content.list",
    ),
    (
        content(
            "interactive",
            {"body": "x", "cta_url": {"display_text": "x", "url": "javascript:alert(1)"}},
        ),
        "content.cta_url.url",
    ),
    (
        content(
            "interactive",
            {
                "body": "x",
                "buttons": [BUTTON],
                "cta_url": {"display_text": "x", "url": "https://x.y"},
            },
        ),
        "content",
    ),
    (content("location", {"latitude": 91, "longitude": 0}), "content.latitude"),
    (content("location", {"latitude": 0}), "content.longitude"),
    (content("contacts", {"contacts": []}), "content.contacts"),
    (content("contacts", {"contacts": [{"name": {}}]}), "content.contacts[0].name.formatted_name"),
    (content("reaction", {"emoji": "👍"}), "content.message_id"),
    ({"priority": "Urgent"}, "priority"),
    ({"priority": 1}, "priority"),
    ({"max_attempts": 0}, "max_attempts"),
    ({"max_attempts": 21}, "max_attempts"),
    ({"max_attempts": "5"}, "max_attempts"),
    ({"max_attempts": 2.5}, "max_attempts"),
    ({"scheduled_for": "tomorrow"}, "scheduled_for"),
    ({"scheduled_for": "2030-01-01T00:00:00"}, "scheduled_for"),
    ({"scheduled_for": 1893456000}, "scheduled_for"),
    ({"scheduled_for": PAST}, "scheduled_for"),
    ({"scheduled_for": FAR}, "scheduled_for"),
    ({"expires_at": PAST}, "expires_at"),
    ({"scheduled_for": FAR, "expires_at": SOON}, "scheduled_for"),
    ({"metadata": {"a": 1}}, "metadata.a"),
    ({"metadata": {"a": "x" * 501}}, "metadata.a"),
    ({"metadata": {str(i): "x" for i in range(21)}}, "metadata"),
    ({"metadata": []}, "metadata"),
    ({"reply_to": ""}, "reply_to"),
    ({"phone_number_id": "../../etc"}, "phone_number_id"),
    ({"tenant_id": "a b"}, "tenant_id"),
    ({"check_window": "no"}, "check_window"),
    ({"surprise": True}, "surprise"),
]


async def started(stack: Stack) -> int:
    return (
        await stack.client.count_workflows(
            "WorkflowType = 'MessageWorkflow' OR WorkflowType = 'ScheduledMessageWorkflow'"
        )
    ).count


@pytest.fixture(scope="module")
async def count_before(shared_stack: Stack) -> int:
    return await started(shared_stack)


@pytest.mark.parametrize(
    ("changes", "field"), CASES, ids=[f"{i}-{field}" for i, (_, field) in enumerate(CASES)]
)
async def test_bad_fields_are_named(
    stack: Stack, count_before: int, changes: dict[str, Any], field: str
) -> None:
    response = await stack.api.post("/api/v1/queue/send", json={**EXAMPLE, **changes})
    assert response.status_code == 422, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert field in [error["field"] for error in problem["errors"]], problem
    assert problem["detail"]
    assert "Traceback" not in response.text


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 422),
        (b"{", 422),
        (b"[]", 422),
        (b'"text"', 422),
        (b"null", 422),
        (b"\xff\xfe", 422),
        (b"[" * 100_000, 422),
        (b'{"to": "\\ud800"}', 422),
        (b'{"pad": "' + b"x" * 1024 * 1024 + b'"}', 413),
    ],
)
async def test_bad_bodies_are_problems(
    stack: Stack, count_before: int, body: bytes, status: int
) -> None:
    headers = {"Content-Type": "application/json"}
    response = await stack.api.post("/api/v1/queue/send", content=body, headers=headers)
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"


async def test_a_streamed_body_is_limited_too(stack: Stack) -> None:
    async def chunks() -> Any:
        for _ in range(20):
            yield b"x" * 100_000

    response = await stack.api.post(
        "/api/v1/queue/send", content=chunks(), headers={"Content-Type": "application/json"}
    )
    assert response.status_code == 413


@pytest.mark.parametrize(
    ("method", "path", "params", "field"),
    [
        ("GET", "/api/v1/queue/messages", {"cursor": "nonsense"}, "cursor"),
        ("GET", "/api/v1/queue/messages", {"cursor": "eyJsaXZlIjogMX0="}, "cursor"),
        ("GET", "/api/v1/queue/messages", {"status": "lost"}, "status"),
        ("GET", "/api/v1/queue/messages", {"recipient": "abc"}, "recipient"),
        ("GET", "/api/v1/queue/messages", {"limit": "0"}, "limit"),
        ("GET", "/api/v1/queue/messages", {"limit": "101"}, "limit"),
        ("GET", "/api/v1/queue/messages", {"since": "yesterday"}, "since"),
        ("GET", "/api/v1/queue/dead-letter", {"until": "later"}, "until"),
    ],
)
async def test_bad_queries_are_named(
    stack: Stack, method: str, path: str, params: dict[str, str], field: str
) -> None:
    response = await stack.api.request(method, path, params=params)
    assert response.status_code == 422, response.text
    assert any(error["field"].endswith(field) for error in response.json()["errors"]), response.text


def _cursor(position: Any) -> str:
    text = position if isinstance(position, str) else json.dumps(position)
    return base64.urlsafe_b64encode(text.encode()).decode()


_CURSORS = [
    _cursor(position)
    for position in (
        {"live": "AAAA"},
        {"live": "A"},
        {"live": "é"},
        {"live": "AAAA", "mac": "\ud800"},
        {"live": None},
        {"before": ["0001-01-01T00:00:00+23:59", "x"]},
        {"before": ["9999-12-31T23:59:59-23:59", "x"]},
        {"before": ["2026-01-01T00:00:00", "x"]},
        {"before": ["2026-01-01T00:00:00Z", "a\0b"]},
        {"before": ["2026-01-01T00:00:00Z", "\ud800"]},
        {"before": ["2026-01-01T00:00:00Z", 1]},
        {"before": ["2026-01-01T00:00:00Z", "x", "y"]},
        {"before": {"0": "x"}},
        {"before": "ab"},
        {"before": 5},
        "[" * 3000,
        "NaN",
        "[]",
    )
]


@pytest.mark.parametrize(
    "path",
    [
        "queue/messages",
        "queue/dead-letter",
        "webhooks/deliveries",
        "webhooks/dead-letter",
        "whatsapp/updates",
        "whatsapp/set-aside",
    ],
)
async def test_times_and_cursors_at_the_edges_are_named(stack: Stack, path: str) -> None:
    tries = [{"cursor": cursor} for cursor in _CURSORS]
    if not path.startswith("whatsapp/"):
        tries += [
            {name: time}
            for name in ("since", "until")
            for time in (
                "0001-01-01T00:00:00+23:59",
                "9999-12-31T23:59:59-23:59",
                "0001-01-01T00:00:00Z",
            )
        ]
    for params in tries:
        began = time.monotonic()
        response = await stack.api.get(f"/api/v1/{path}", params=params)
        assert response.status_code == 422, (params, response.text)
        (name,) = params
        assert response.json()["errors"][0]["field"].endswith(name), response.text
        assert time.monotonic() - began < 5, "Temporal was asked for a page that it never gave out"


async def test_days_before_the_cloud_api_are_named(stack: Stack) -> None:
    for params in (
        {"end": "0001-01-01"},
        {"end": "0001-01-01", "days": 90},
        {"start": "0001-01-01"},
    ):
        response = await stack.api.get("/api/v1/whatsapp/analytics", params=params)
        assert response.status_code == 422, response.text
        assert response.json()["errors"][0]["field"] in params


async def test_unknown_paths_and_methods_are_problems(stack: Stack) -> None:
    for method, path, status in (("GET", "/nowhere", 404), ("DELETE", "/api/v1/queue/send", 405)):
        response = await stack.api.request(method, path)
        assert response.status_code == status
        assert response.headers["content-type"] == "application/problem+json"


async def test_bad_input_starts_no_workflow(stack: Stack, count_before: int) -> None:
    assert await started(stack) == count_before
