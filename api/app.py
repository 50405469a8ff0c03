"""The API application and its server."""

import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TypedDict
from uuid import uuid4

import structlog
import uvicorn
from fastapi import FastAPI
from fastapi_swagger import patch_fastapi
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from temporalio.client import Client

from api.access import Authenticator
from api.callback import routes as callback
from api.callback import set_aside
from api.conversations import contacts as responder_contacts
from api.conversations import rules as auto_responder
from api.errors import install_error_handlers
from api.insights import dashboard, stats
from api.insights import routes as insights
from api.insights.snapshots import Snapshots
from api.links import WorkflowLinks
from api.messages import queue
from api.messages import routes as messages
from api.messages.listing import MessageLists
from api.messages.view import MessageViews
from api.middleware.body_limit import BodyLimit
from api.middleware.codec_cors import CodecCors
from api.middleware.gate import Gate
from api.numbers import routes as numbers
from api.numbers import updates
from api.ops import codec, live
from api.ops import telemetry as metrics
from api.protocol import BoundedProtocol
from api.webhooks import deliveries as webhook_deliveries
from api.webhooks import endpoints as webhook_endpoints
from pytake import __version__
from pytake.access.keyless import check_keys
from pytake.callback.follow_up import FollowUp
from pytake.contacts.hashing import ContactHashes
from pytake.conversations.rule_store import Books
from pytake.conversations.start import ConversationStarter
from pytake.database.engine import Database
from pytake.messages.accept import Acceptor
from pytake.messages.options import options_of
from pytake.messages.wake import Waker
from pytake.numbers.choice import NumberChoice
from pytake.process import event_loop, telemetry
from pytake.process.data_dir import secure
from pytake.process.heartbeat import beating
from pytake.process.logs import configure_logging
from pytake.reconciliation.messages import EndedMessages
from pytake.settings import ConfigurationError, Settings, load_settings
from pytake.temporal import client as temporal
from pytake.temporal.codec import codec_of
from pytake.webhooks.dispatch import Dispatcher
from pytake.whatsapp.limits import send_window

_log = structlog.get_logger()

_DESCRIPTION = """Send WhatsApp messages durably: nothing is lost, nothing is sent twice, no limit is broken.

Errors are problem details (RFC 9457): `errors` names each wrong field. Every answer of
`GET /api/v1/queue/message/{id}` links to the message's workflow in the Temporal Web UI."""


class LifespanState(TypedDict):
    """Objects that live as long as the application, available in every request's state.

    Read by the dependencies in ``api.dependencies`` and in each noun.
    """

    settings: Settings
    database: Database
    client: Client
    authenticator: Authenticator
    acceptor: Acceptor
    numbers: NumberChoice
    dispatcher: Dispatcher
    links: WorkflowLinks
    message_views: MessageViews
    message_lists: MessageLists
    ended_messages: EndedMessages
    books: Books
    follow_up: FollowUp
    snapshots: Snapshots


def create_app(settings: Settings) -> FastAPI:
    """The API, connected to the database and to Temporal while it runs."""
    measured = telemetry.start(settings.telemetry, "api")
    payload_codec = codec_of(settings.storage)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[LifespanState]:
        database = Database(settings.storage.sqlalchemy_url)
        client = await temporal.connect(
            codec=payload_codec,
            lazy=True,
            interceptors=measured.interceptors,
            runtime=measured.runtime,
        )
        state = _state(settings, database, client)
        process_id = f"{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:8]}"
        async with beating(database, process_id, "api", dict):
            yield state
        database.close()
        measured.close()

    app = FastAPI(
        title="PyTake",
        version=__version__,
        description=_DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        swagger_ui_oauth2_redirect_url=None,
    )
    if measured.provider is not None:
        FastAPIInstrumentor.instrument_app(
            app, tracer_provider=measured.provider, excluded_urls="health,metrics"
        )
    patch_fastapi(app)  # the docs page from our own server, not from a CDN
    app.add_middleware(BodyLimit)
    app.add_middleware(Gate, settings=settings.whatsapp)
    app.add_middleware(CodecCors, ui_origin=settings.api.temporal_ui_origin)
    install_error_handlers(app)
    for module in (
        queue,
        messages,
        stats,
        callback,
        numbers,
        updates,
        set_aside,
        webhook_endpoints,
        webhook_deliveries,
        auto_responder,
        responder_contacts,
        insights,
        dashboard,
        codec,
        metrics,
        live,
    ):
        app.include_router(module.router)
    return app


def _state(settings: Settings, database: Database, client: Client) -> LifespanState:
    """Everything that routes depend on, each built once."""
    dispatcher = Dispatcher(client, database)
    numbers = NumberChoice(database, settings.whatsapp)
    hashes = ContactHashes(database)
    acceptor = Acceptor(client, database, dispatcher, numbers, hashes, options_of(settings))
    links = WorkflowLinks(settings.api.temporal_ui_url, client.namespace)
    debounce = settings.conversations.reply_debounce_seconds
    return {
        "settings": settings,
        "database": database,
        "client": client,
        "authenticator": Authenticator(database, settings),
        "acceptor": acceptor,
        "numbers": numbers,
        "dispatcher": dispatcher,
        "links": links,
        "message_views": MessageViews(client, database, links),
        "message_lists": MessageLists(
            client, database, hashes, links, settings.messages.default_region
        ),
        "ended_messages": EndedMessages(
            client,
            database,
            dispatcher,
            send_window(settings.whatsapp.timeout_seconds, settings.messages.receipt_wait_seconds),
        ),
        "books": Books(),
        "follow_up": FollowUp(
            database,
            dispatcher,
            ConversationStarter(client, database, hashes, debounce),
            Waker(client),
            acceptor,
            redrives=settings.messages.wait_codes == "redrive",
        ),
        "snapshots": Snapshots(
            client, database, timedelta(seconds=settings.worker.snapshot_seconds or 300)
        ),
    }


def build_server(settings: Settings) -> uvicorn.Server:
    """The API behind a server that limits what a client can cost before the API sees the request."""
    return uvicorn.Server(
        uvicorn.Config(
            create_app(settings),
            host=settings.api.host,
            port=settings.api.port,
            http=BoundedProtocol,
            ws="none",
            log_config=None,
            access_log=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=15,
            server_header=False,
            headers=[("X-Content-Type-Options", "nosniff")],
        )
    )


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; running requests finish."""
    server = build_server(settings)
    _log.info("api ready", address=f"http://{settings.api.host}:{settings.api.port}")
    await server.serve()


def main() -> None:
    """Entry point of ``pytake api``."""
    try:
        settings = load_settings()
        loose = secure(settings.storage)
        without_keys = check_keys(settings.api, settings.storage)
    except ConfigurationError as error:
        sys.exit(f"configuration: {error}")
    configure_logging(settings.telemetry.log_format, settings.telemetry.log_level)
    for warning in loose:
        _log.warning(warning)
    if without_keys:
        _log.warning(
            "no API key exists: serving this machine only, as tenant 'default' (pytake key create)"
        )
    event_loop.run(serve(settings))
    sys.stdout.flush()
    sys.stderr.flush()
    # The Temporal client's native threads can abort an ordinary exit (temporalio/sdk-python#300).
    os._exit(0)
