"""Fixtures: one Temporal server a run; one stack for each database."""

import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from pytake.database.engine import Database
from pytake.process import sweeping
from tests.parts import database_of, is_unit, part_of
from tests.postgres import postgres
from tests.receiver import Receiver, receiving
from tests.stack import Stack, make_settings, running_stack, temporal_server

sweeping._SECONDS = 1.0  # tests wait for sweeps


def pytest_itemcollected(item: pytest.Item) -> None:
    """``-k unit`` chooses what needs no running part; and ``-k`` the name of a part, that part."""
    if is_unit(item):
        item.extra_keyword_matches.add("unit")
    item.extra_keyword_matches.add(part_of(item))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Conversations come last: they move the clock of the whole process. What is marked
    ``one_database`` does not run on PostgreSQL too.
    """
    items.sort(key=lambda item: "conversations" in item.path.parts)
    config.hook.pytest_deselected(items=[item for item in items if _needless(item)])
    items[:] = [item for item in items if not _needless(item)]


def _needless(item: pytest.Item) -> bool:
    return item.get_closest_marker("one_database") is not None and database_of(item) == "postgresql"


@pytest.fixture(scope="session")
def temporal_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with temporal_server(tmp_path_factory.mktemp("temporal")) as address:
        yield address


@pytest.fixture(scope="module")
def own_temporal_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of the module's own: workers of another stack would take its tasks."""
    with temporal_server(tmp_path_factory.mktemp("temporal")) as address:
        yield address


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    with postgres() as server:
        yield server.url


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    if request.param == "postgresql":
        url: str = request.getfixturevalue("postgres_url")
        return url
    directory: Path = tmp_path_factory.mktemp("sqlite")
    return f"sqlite:///{directory / 'pytake.db'}"


@pytest.fixture(scope="module")
def own_database_url(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An empty database of the module's own, of the same kind."""
    if database_url.startswith("sqlite"):
        return f"sqlite:///{tmp_path_factory.mktemp('own') / 'pytake.db'}"
    name = f"own_{secrets.token_hex(4)}"
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    parts = urlsplit(database_url)
    return urlunsplit(parts._replace(path=f"/{name}"))


@pytest.fixture(scope="module")
def database(own_database_url: str) -> Iterator[Database]:
    """An empty database of the module's own, with its tables."""
    database = Database(own_database_url)
    database.migrate()
    yield database
    database.close()


@pytest.fixture(scope="session")
async def shared_stack(
    database_url: str, temporal_address: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Stack]:
    # Workflows run in the sandbox here and in replays; elsewhere as they do in production.
    sandboxed = database_url.startswith("sqlite")
    settings = make_settings(
        tmp_path_factory.mktemp("stack"),
        database_url,
        PYTAKE_WORKFLOW_SANDBOX=sandboxed,
        PYTAKE_MAX_RULES=14,
    )
    async with running_stack(settings, temporal_address) as stack:
        yield stack


@pytest.fixture
async def stack(shared_stack: Stack) -> AsyncIterator[Stack]:
    """The stack, with no fault switched on."""
    await shared_stack.clear_faults()
    await shared_stack.sandbox.patch(
        "/sandbox/limits",
        json={"throughput": 80, "pair_limit": True, "customer_service_window": False},
    )
    yield shared_stack
    await shared_stack.clear_faults()


@pytest.fixture(scope="session")
async def receiver() -> AsyncIterator[Receiver]:
    """A tenant's system."""
    async with receiving() as running:
        yield running
