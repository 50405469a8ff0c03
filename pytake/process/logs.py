"""Structured logs: readable on a console, JSON lines in production.

Both formats log an error's traceback as text without local variables
(:mod:`pytake.process.tracebacks`): these hold keys, secrets and message texts, and are slow to print.
"""

import logging
import sys
import threading
from types import TracebackType

import structlog

from pytake.process.tracebacks import error_of, render_traceback


def configure_logging(log_format: str, level: str) -> None:
    """Log structlog's and the standard library's records, and uncaught errors, to stderr in one format."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if log_format == "json"
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _trace,
                renderer,
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=level, force=True)
    for noisy in ("httpx", "httpcore", "alembic", "uvicorn.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.getLogger("asyncio").addFilter(_without_reprs)
    sys.excepthook = _uncaught
    threading.excepthook = _uncaught_in_thread


def _trace(
    _logger: structlog.typing.WrappedLogger, _method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    error = error_of(event.pop("exc_info", None))
    if error is not None:
        event["exception"] = render_traceback(error)
    return event


def _without_reprs(record: logging.LogRecord) -> bool:
    """Keep only the first line of asyncio's reports: the others are the ``repr`` of tasks, their errors
    and callbacks' arguments, which may hold secrets.
    """
    if record.exc_info:
        record.msg, record.args = record.getMessage().partition("\n")[0].partition("(")[0][:200], ()
    return True


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    logging.getLogger("pytake").critical("stopped by an error", exc_info=error)


def _uncaught_in_thread(given: threading.ExceptHookArgs) -> None:
    name = given.thread.name if given.thread else ""
    logging.getLogger("pytake").error("a thread ended: %s", name, exc_info=given.exc_value)
