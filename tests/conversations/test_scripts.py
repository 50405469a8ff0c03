"""Conversations, performed against the whole stack on a server whose time is skipped."""

from collections.abc import AsyncIterator

import pytest

from tests.conversations.harness import Theatre, load_scripts, theatre

SCRIPTS = load_scripts()


@pytest.fixture(scope="module")
async def stage(
    own_database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Theatre]:
    async with theatre(tmp_path_factory.mktemp("theatre"), own_database_url) as running:
        yield running


@pytest.mark.parametrize("name", SCRIPTS)
async def test_conversation(stage: Theatre, name: str) -> None:
    await stage.perform(SCRIPTS[name])


def test_there_are_enough_of_them() -> None:
    assert len(SCRIPTS) >= 25
