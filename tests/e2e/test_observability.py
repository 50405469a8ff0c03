"""Prometheus metrics, the Grafana dashboard, traces and logs of a running installation."""

import gzip
import json
import logging
import re
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import structlog
import yaml
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from pytake.access import keys
from pytake.clock import now
from pytake.process import telemetry
from pytake.process.logs import configure_logging
from tests.stack import Stack, eventually, fresh_recipient, make_settings, running_stack

ROOT = Path(__file__).parents[2]
DASHBOARD = ROOT / "ops/grafana/pytake.json"


async def scrape(stack: Stack) -> dict[str, float]:
    response = await stack.api.get("/metrics")
    assert response.status_code == 200, response.text
    lines = (
        line.rpartition(" ") for line in response.text.splitlines() if not line.startswith("#")
    )
    return {name: float(value) for name, _, value in lines}


async def test_metrics_count_what_happens(stack: Stack) -> None:
    before = await scrape(stack)
    await stack.fault("error", code=131026, count=1)
    refused = (await stack.send(to=fresh_recipient()))["message_id"]
    await stack.until(refused, "failed")
    sent = (await stack.send(to=fresh_recipient()))["message_id"]
    await stack.until(sent, "read")
    number = await stack.register(rate=33, tier="TIER_1K")
    found: dict[str, float] = {}

    async def counted() -> bool:
        found.update(await scrape(stack))
        name = 'pytake_messages{status="read"}'
        return found.get(name, 0) > before.get(name, 0)

    await eventually(counted, 20)

    def grown(name: str) -> float:
        return found.get(name, 0) - before.get(name, 0)

    assert grown('pytake_message_outcomes_total{priority="High",status="accepted"}') == 1
    assert grown('pytake_message_outcomes_total{priority="High",status="dead"}') == 1
    assert grown('pytake_send_attempts_total{result="accepted"}') == 1
    assert grown('pytake_send_attempts_total{result="permanent"}') == 1
    assert grown('pytake_send_seconds_count{result="accepted"}') == 1
    assert grown('pytake_callback_updates_total{kind="delivered"}') >= 1
    assert grown('pytake_callback_seconds_count{status="ok"}') >= 1
    assert found[f'pytake_number_rate{{phone_number_id="{number}"}}'] == 33
    assert found[f'pytake_window_limit{{phone_number_id="{number}"}}'] == 1000
    assert found['pytake_queue_depth{priority="Critical"}'] == 0
    assert found['pytake_part_up{part="queue"}'] == found['pytake_part_up{part="database"}'] == 1
    assert any(name.startswith("temporal_request") for name in found)  # the SDK's own


async def test_the_dashboard_asks_for_metrics_that_exist(stack: Stack) -> None:
    await stack.until((await stack.send(to=fresh_recipient()))["message_id"], "read")
    telemetry.DEFERRALS.labels("pair_limit")
    telemetry.REPLIES.labels("answered")
    telemetry.DELIVERIES.labels("delivered")
    telemetry.HEALTH_SCORE.labels("1")
    exposed = {name.partition("{")[0] for name in await scrape(stack)}
    # The worker of the tests shares a client without the SDK's metrics; the facts page of the SDK
    # names this one, and a worker process exposes it (test_up).
    exposed |= {"temporal_activity_schedule_to_start_latency_bucket", "pytake_number_health_score"}
    panels = json.loads(DASHBOARD.read_text())["panels"]
    asked = {
        name
        for panel in panels
        for target in panel["targets"]
        for name in re.findall(r"\b(?:pytake|temporal)_\w+", target["expr"])
    }
    assert len(panels) >= 12
    assert asked <= exposed, asked - exposed
    jobs = yaml.safe_load((ROOT / "ops/prometheus.yml").read_text())["scrape_configs"]
    assert {job["job_name"] for job in jobs} == {"pytake-api", "pytake-worker"}


async def test_metrics_are_for_admins_once_there_are_keys(stack: Stack) -> None:
    key, text = await stack.database.write(
        keys.create, tenant_id="someone", admin=False, name="k", now=now()
    )
    headers = {"Authorization": f"Bearer {text}"}
    try:
        assert (await stack.api.get("/metrics", headers=headers)).status_code == 403
    finally:
        await stack.database.write(keys.revoke, key.id, now())


@pytest.fixture
def collector() -> Iterator[tuple[str, list[Any]]]:
    """An OpenTelemetry collector: takes spans over HTTP."""
    spans: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            request = ExportTraceServiceRequest.FromString(body)
            for resource in request.resource_spans:
                for scope in resource.scope_spans:
                    spans.extend(scope.spans)
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", spans
    server.shutdown()


@pytest.fixture
async def traced(
    collector: tuple[str, list[Any]], own_temporal_address: str, tmp_path: Path
) -> AsyncIterator[Stack]:
    settings = make_settings(tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=collector[0])
    measured = telemetry.tracing(settings.telemetry, "worker")
    async with running_stack(
        settings, own_temporal_address, interceptors=measured.interceptors
    ) as stack:
        yield stack
    measured.close()


async def test_one_trace_from_the_request_to_the_activity(
    traced: Stack, collector: tuple[str, list[Any]]
) -> None:
    message_id = (await traced.send(to=fresh_recipient()))["message_id"]
    await traced.until(message_id, "read")
    wanted = {
        "POST /api/v1/queue/send",
        "StartWorkflow:MessageWorkflow",
        "RunWorkflow:MessageWorkflow",
        "StartActivity:send_directly",
        "RunActivity:send_directly",
    }
    spans = collector[1]

    async def together() -> bool:
        roots = {s.trace_id for s in spans if s.name == "POST /api/v1/queue/send"}
        return any(wanted <= {s.name for s in spans if s.trace_id == root} for root in roots)

    await eventually(together, 20, lambda: str(sorted({s.name for s in spans})))
    assert "/health" not in {s.name for s in spans}


async def test_log_lines_of_activities_name_their_message(
    stack: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    handlers, level = logging.root.handlers[:], logging.root.level
    configure_logging("json", "INFO")
    try:
        number = await stack.register()
        await stack.fault("error", code=130429, count=1)
        recipient = fresh_recipient()
        body = await stack.send(to=recipient, phone_number_id=number)
        await stack.until(body["message_id"], "read")
    finally:
        logging.root.handlers[:] = handlers
        logging.root.setLevel(level)
        structlog.reset_defaults()
    output = capsys.readouterr().err
    lines = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    (line,) = [entry for entry in lines if entry["event"] == "number changed"]
    assert line["message_id"] == line["workflow_id"] == body["message_id"]
    assert (line["tenant_id"], line["activity"], line["level"]) == (
        "default",
        "send_directly",
        "info",
    )
    assert recipient not in output
