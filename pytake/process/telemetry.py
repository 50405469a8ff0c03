"""Telemetry: Prometheus metrics, and traces if a collector is configured.

Counters and histograms live in each process; gauges of the queue and of the numbers are read when
the API is scraped (``api.ops.telemetry``). The Temporal SDK's own metrics are included.
No label holds a contact, a message id or a tenant.
"""

import socket
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import structlog
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from prometheus_client import REGISTRY, Counter, Gauge, Histogram, start_http_server
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from temporalio.client import Interceptor
from temporalio.contrib.opentelemetry import TracingInterceptor
from temporalio.runtime import PrometheusConfig, Runtime, TelemetryConfig

from pytake.settings import TelemetrySettings

_log = structlog.get_logger()

_FAST: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20)

OUTCOMES: Final = Counter(
    "pytake_message_outcomes", "Messages that reached an outcome", ["status", "priority"]
)
SEND_SECONDS: Final = Histogram(
    "pytake_send_seconds",
    "Duration of calls that send a message to Meta",
    ["result"],
    buckets=_FAST,
)
ATTEMPTS: Final = Counter(
    "pytake_send_attempts", "Attempts to send a message, by result", ["result"]
)
DEFERRALS: Final = Counter(
    "pytake_deferrals", "Messages that had to wait, by reason; waits are not attempts", ["reason"]
)
DELIVERIES: Final = Counter(
    "pytake_webhook_deliveries", "Attempts to deliver an event to a tenant's endpoint", ["result"]
)
DELIVERY_DEFERRALS: Final = Counter(
    "pytake_webhook_deferrals",
    "Deliveries that had to wait for their endpoint, by reason; waits are not attempts",
    ["reason"],
)
DELIVERY_SECONDS: Final = Histogram(
    "pytake_webhook_delivery_seconds", "Duration of attempts to deliver an event", buckets=_FAST
)
CALLBACK_SECONDS: Final = Histogram(
    "pytake_callback_seconds",
    "Time until a request to the callback was answered",
    ["status"],
    buckets=_FAST,
)
CALLBACK_UPDATES: Final = Counter(
    "pytake_callback_updates", "Updates received through the callback", ["kind"]
)
RECONCILED: Final = Counter(
    "pytake_reconciled",
    "Workflows that ended without a recorded outcome, by kind and by what was done",
    ["kind", "result"],
)
REPLIES: Final = Counter("pytake_replies", "Decisions of the auto-responder", ["result"])

QUEUE_DEPTH: Final = Gauge(
    "pytake_queue_depth", "Messages waiting in the queue, by priority", ["priority"]
)
MESSAGES: Final = Gauge("pytake_messages", "Messages, by current status", ["status"])
NUMBER_RATE: Final = Gauge(
    "pytake_number_rate", "Messages per second a number may send right now", ["phone_number_id"]
)
NUMBER_RATE_ALLOWED: Final = Gauge(
    "pytake_number_rate_allowed",
    "Messages per second a number may send at full speed",
    ["phone_number_id"],
)
WINDOW_USED: Final = Gauge(
    "pytake_window_used", "Unique recipients in the rolling 24 hours", ["phone_number_id"]
)
WINDOW_LIMIT: Final = Gauge(
    "pytake_window_limit", "The messaging limit; -1 means unlimited", ["phone_number_id"]
)
HEALTH_SCORE: Final = Gauge(
    "pytake_number_health_score", "The health score of a number, 0 to 100", ["phone_number_id"]
)
PART_UP: Final = Gauge(
    "pytake_part_up", "Whether the metrics of a part could be read at this scrape", ["part"]
)


@dataclass(slots=True)
class Telemetry:
    """The telemetry of a process."""

    runtime: Runtime | None = None
    interceptors: Sequence[Interceptor] = ()
    provider: TracerProvider | None = None
    _collectors: list[Collector] = field(default_factory=list)

    def close(self) -> None:
        """Flush the remaining traces."""
        for collector in self._collectors:
            REGISTRY.unregister(collector)
        if self.provider is not None:
            self.provider.shutdown()


def start(settings: TelemetrySettings, service: str) -> Telemetry:
    """Set up a process: the Temporal SDK's metrics, and tracing if it is configured."""
    address = f"127.0.0.1:{_free_port()}"
    runtime = Runtime(telemetry=TelemetryConfig(metrics=PrometheusConfig(bind_address=address)))
    collector = SdkCollector(f"http://{address}/metrics")
    REGISTRY.register(collector)
    telemetry = tracing(settings, service)
    telemetry.runtime = runtime
    telemetry._collectors.append(collector)
    return telemetry


def tracing(settings: TelemetrySettings, service: str) -> Telemetry:
    """Send traces to the collector at ``OTEL_EXPORTER_OTLP_ENDPOINT``; off if it is not set."""
    if settings.otel_endpoint is None:
        return Telemetry()
    provider = TracerProvider(resource=Resource.create({SERVICE_NAME: f"pytake-{service}"}))
    exporter = OTLPSpanExporter(endpoint=f"{settings.otel_endpoint}/v1/traces")
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=1000))
    tracer = provider.get_tracer("pytake")
    return Telemetry(interceptors=[TracingInterceptor(tracer)], provider=provider)


def serve(settings: TelemetrySettings) -> None:
    """Serve a worker's ``/metrics``, on loopback unless configured otherwise; if the port is in use, the
    worker runs without.
    """
    if settings.metrics_port == 0:
        return
    try:
        start_http_server(settings.metrics_port, settings.metrics_host)
    except OSError as error:
        _log.warning(
            "no /metrics: set PYTAKE_METRICS_PORT or PYTAKE_METRICS_HOST",
            port=settings.metrics_port,
            host=settings.metrics_host,
            error=str(error),
        )


class SdkCollector(Collector):
    """Collects the Temporal SDK's metrics, which the SDK serves on loopback."""

    def __init__(self, url: str) -> None:
        self._url = url

    def collect(self) -> Iterator[Metric]:
        """The SDK's current metric families."""
        try:
            with urllib.request.urlopen(self._url, timeout=2) as answer:  # noqa: S310 - our own
                text = answer.read().decode()
        except OSError:
            return
        yield from text_string_to_metric_families(text)

    def describe(self) -> list[Metric]:
        """Nothing: the metrics are unknown before the first scrape."""
        return []


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def replace_series(gauge: Gauge, values: dict[str, Any]) -> None:
    """Set the series of a gauge with one label; remove series that are not in ``values``."""
    gauge.clear()
    for label, value in values.items():
        gauge.labels(label).set(value)
