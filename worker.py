"""The worker process: the composition root of workflows and activities."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import uuid4

import structlog
from temporalio.client import Client
from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.worker import (
    UnsandboxedWorkflowRunner,
    Worker,
    WorkerDeploymentConfig,
    WorkflowRunner,
)
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from activities.conversations import ConversationActivities
from activities.insights import SnapshotActivities
from activities.messages.answers import SendOptions
from activities.messages.lanes import message_activities
from activities.messages.post import Poster
from activities.numbers import NumberActivities
from activities.reconciliation import ReconcileActivities
from activities.retention import PruneActivities
from activities.webhooks.deliver import DeliveryOptions, WebhookActivities
from activities.webhooks.replay import ReplayActivities
from pytake.contacts.hashing import ContactHashes
from pytake.conversations.answer import policy_of
from pytake.conversations.start import ConversationStarter
from pytake.database.engine import Database
from pytake.database.vault import Vault, open_vault
from pytake.messages.accept import Acceptor
from pytake.messages.options import options_of
from pytake.numbers import store as numbers
from pytake.numbers.choice import NumberChoice
from pytake.numbers.follow import follow_number
from pytake.process import event_loop, telemetry
from pytake.process.data_dir import secure
from pytake.process.heartbeat import beating
from pytake.process.log_context import LogContext
from pytake.process.logs import configure_logging
from pytake.process.sweeping import sweeping
from pytake.reconciliation.messages import EndedMessages
from pytake.reconciliation.unattended import Unattended
from pytake.settings import (
    ConfigurationError,
    Settings,
    StorageSettings,
    WebhookSettings,
    WorkerSettings,
    load_settings,
)
from pytake.temporal import client as temporal
from pytake.temporal import queues
from pytake.temporal.codec import codec_of
from pytake.webhooks.deliveries import DisableRule
from pytake.webhooks.dispatch import Dispatcher
from pytake.webhooks.guard import parse_networks
from pytake.webhooks.slots import SlotLimits
from pytake.webhooks.transport import GuardedClient
from pytake.webhooks.turns import activity_slots
from pytake.whatsapp.client import CloudApi
from pytake.whatsapp.limits import send_window
from workflows import (
    conversation,
    insights,
    message,
    number,
    reconciliation,
    retention,
    scheduled_message,
    webhook_delivery,
)
from workflows.schedules import ensure_schedules

_log = structlog.get_logger()

WORKFLOWS = [
    *message.WORKFLOWS,
    *scheduled_message.WORKFLOWS,
    *conversation.WORKFLOWS,
    *webhook_delivery.WORKFLOWS,
    *number.WORKFLOWS,
    *insights.WORKFLOWS,
    *retention.WORKFLOWS,
    *reconciliation.WORKFLOWS,
]
_PASSED_THROUGH = (
    "activities",
    "pytake",
    "pydantic",
    "httpx",
    "sqlmodel",
    "sqlalchemy",
    "structlog",
    "re2",
    "holidays",
    "opentelemetry",
    "prometheus_client",
)


def workflow_runner(*, sandboxed: bool = True) -> WorkflowRunner:
    """The workflow sandbox, with our own pure and heavy modules passed through; or no sandbox.

    The sandbox detects non-determinism, but imports the workflow's modules afresh for every workflow: a
    third of a worker's CPU here. Tests and replays run in it, so that production workers need not.
    """
    if not sandboxed:
        return UnsandboxedWorkflowRunner()
    restrictions = SandboxRestrictions.default.with_passthrough_modules(*_PASSED_THROUGH)
    return SandboxedWorkflowRunner(restrictions=restrictions)


def build_workers(
    client: Client,
    settings: Settings,
    database: Database,
    api: CloudApi,
    dispatcher: Dispatcher,
    hashes: ContactHashes,
    webhooks: WebhookActivities,
) -> tuple[list[Worker], Poster]:
    """The workers of one process: workflows, and the rate-limited sends and deliveries."""
    options = SendOptions(
        portfolio_id=settings.whatsapp.business_account_id,
        call_timeout=settings.whatsapp.timeout_seconds,
        receipt_wait=settings.messages.receipt_wait_seconds,
        redrive_wait_codes=settings.messages.wait_codes == "redrive",
    )
    messages = message_activities(
        api, database, client, dispatcher, options, settings.messages.direct_sends
    )
    choice = NumberChoice(database, settings.whatsapp)
    acceptor = Acceptor(client, database, dispatcher, choice, hashes, options_of(settings))
    conversations = ConversationActivities(
        api, database, client, dispatcher, acceptor, policy_of(settings.conversations)
    )
    ended = EndedMessages(
        client,
        database,
        dispatcher,
        send_window(settings.whatsapp.timeout_seconds, settings.messages.receipt_wait_seconds),
    )
    nouns = (
        messages,
        conversations,
        webhooks,
        ReplayActivities(database, dispatcher),
        NumberActivities(database, client),
        SnapshotActivities(api, database, dispatcher),
        PruneActivities(database),
        ReconcileActivities(
            client,
            database,
            ended,
            webhooks.bury,
            conversations.send_reply,
            Unattended(client, database),
        ),
    )

    def worker(queue: str, **options: Any) -> Worker:
        return Worker(
            client,
            task_queue=queue,
            activities=[one for noun in nouns for one in noun.activities().get(queue, ())],
            interceptors=[LogContext()],
            # Longer than any call: a call cut off by a shutdown would have to wait for its receipt.
            graceful_shutdown_timeout=timedelta(seconds=settings.whatsapp.timeout_seconds + 15),
            deployment_config=deployment_of(settings.worker),
            **options,
        )

    workers = [
        worker(
            queues.WORKFLOW_QUEUE,
            workflows=WORKFLOWS,
            workflow_runner=workflow_runner(sandboxed=settings.worker.workflow_sandbox),
            max_cached_workflows=2000,
            # Temporal's default, plus the direct sends, which may have to wait for Meta.
            max_concurrent_workflow_tasks=100 + settings.messages.direct_sends,
            max_concurrent_local_activities=100 + settings.messages.direct_sends,
        ),
        worker(queues.SEND_QUEUE, max_concurrent_activities=settings.messages.max_concurrent_sends),
        worker(
            queues.DELIVERY_QUEUE,
            max_concurrent_activities=activity_slots(_delivery_slots(settings.webhooks)),
        ),
    ]
    return workers, messages.poster


def deployment_of(settings: WorkerSettings) -> WorkerDeploymentConfig | None:
    """The deployment version of this worker: Temporal routes to it the tasks of that version.

    Workflows move to the version that is current at their next task, so no old worker has to be kept for
    a message that is scheduled in a year. The replay tests make that safe.
    """
    if not settings.build_id:
        return None
    return WorkerDeploymentConfig(
        version=WorkerDeploymentVersion(queues.DEPLOYMENT, settings.build_id),
        use_worker_versioning=True,
        default_versioning_behavior=VersioningBehavior.AUTO_UPGRADE,
    )


@asynccontextmanager
async def running(settings: Settings, client: Client, database: Database) -> AsyncIterator[None]:
    """Set up Temporal and the configured number, then run the workers while the context is open. Calls
    under way finish when it closes.
    """
    await temporal.retry_until_up(lambda: temporal.ensure_rate_limits(client))
    number = await database.write(
        numbers.register_configured,
        settings.whatsapp.phone_number_id,
        portfolio_id=settings.whatsapp.business_account_id,
        rate=settings.whatsapp.messages_per_second,
        tier=settings.whatsapp.tier.name,
    )
    await temporal.retry_until_up(lambda: follow_number(client, number))
    await temporal.retry_until_up(
        lambda: ensure_schedules(
            client,
            settings.worker.snapshot_seconds,
            settings.worker.retention_days,
            settings.worker.reconcile_seconds,
        )
    )
    async with serving(settings, client, database):
        yield


@asynccontextmanager
async def serving(settings: Settings, client: Client, database: Database) -> AsyncIterator[None]:
    """Run the workers and the sweeps while the context is open."""
    async with AsyncExitStack() as stack:
        api = await stack.enter_async_context(
            CloudApi(
                settings.whatsapp.api_base_url,
                settings.whatsapp.api_version,
                settings.whatsapp.bearer_token,
                timeout=settings.whatsapp.timeout_seconds,
                connections=settings.messages.max_concurrent_sends,
            )
        )
        dispatcher, hashes = Dispatcher(client, database), ContactHashes(database)
        guarded = GuardedClient(
            parse_networks(settings.webhooks.allowed_networks), settings.webhooks.allowed_ports
        )
        stack.push_async_callback(guarded.aclose)
        webhooks = WebhookActivities(
            guarded,
            database,
            client,
            _vault(settings.storage),
            dispatcher,
            _delivery_options(settings.webhooks),
        )
        workers, poster = build_workers(
            client, settings, database, api, dispatcher, hashes, webhooks
        )
        process_id = f"{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:8]}"
        await stack.enter_async_context(
            beating(
                database,
                process_id,
                "worker",
                lambda: {t: dict(c) for t, c in poster.sending.items()},
            )
        )
        await stack.enter_async_context(sweeping(dispatcher.sweep))
        starter = ConversationStarter(
            client, database, hashes, settings.conversations.reply_debounce_seconds
        )
        await stack.enter_async_context(sweeping(starter.sweep))
        for worker in workers:
            await stack.enter_async_context(worker)
        yield


def _delivery_options(settings: WebhookSettings) -> DeliveryOptions:
    after = timedelta(hours=settings.disable_hours)
    rule = DisableRule(after, settings.disable_failures)
    shortest = timedelta(seconds=settings.min_backoff_seconds)
    return DeliveryOptions(_delivery_slots(settings), rule, shortest)


def _delivery_slots(settings: WebhookSettings) -> SlotLimits:
    total = 20 * settings.concurrency
    return SlotLimits(
        total=total,
        per_endpoint=settings.concurrency,
        per_tenant=min(settings.tenant_concurrency, total // 2),
    )


def _vault(settings: StorageSettings) -> Vault | None:
    """``None`` without keys: messages are still sent, and webhook attempts log what is missing."""
    try:
        return open_vault(settings)
    except ConfigurationError as error:
        _log.warning(str(error))
        return None


async def run(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    database = Database(settings.storage.sqlalchemy_url)
    measured = telemetry.start(settings.telemetry, "worker")
    telemetry.serve(settings.telemetry)
    codec = codec_of(settings.storage)
    client = await temporal.retry_until_up(
        lambda: temporal.connect(
            codec=codec, interceptors=measured.interceptors, runtime=measured.runtime
        )
    )
    async with running(settings, client, database):
        _log.info("worker ready", queue=queues.WORKFLOW_QUEUE, send_queue=queues.SEND_QUEUE)
        await stop.wait()
        _log.info("worker stopping: running calls finish first")
    measured.close()
    database.close()


def main() -> None:
    """Entry point of ``pytake worker`` and ``python worker.py``."""
    try:
        settings = load_settings()
        loose = secure(settings.storage)
    except ConfigurationError as error:
        sys.exit(f"configuration: {error}")
    configure_logging(settings.telemetry.log_format, settings.telemetry.log_level)
    for warning in loose:
        _log.warning(warning)
    event_loop.run(run(settings))
    sys.stdout.flush()
    sys.stderr.flush()
    # The Temporal client's native threads can abort an ordinary exit (temporalio/sdk-python#300).
    os._exit(0)


if __name__ == "__main__":
    main()
