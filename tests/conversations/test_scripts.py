"""Conversation scripts, run against the whole stack on a time-skipping server."""

from collections.abc import AsyncIterator

import pytest

from tests.conversations.harness import Theatre, load_scripts, theatre

SCRIPTS = load_scripts()
REMEMBERED = {
    "the starting set transfers, and the bot is silent until the silence ends it",
    "welcome once, and again after a silence",
    "out of hours once per closed period, over a weekend",
    "at most twice, ever",
    "at most once a day",
    "a cooldown lets another rule answer",
    "a rule is valid for a time",
    "a nested menu, by tap, number and title",
    "a sequence keeps its order",
    "several messages at once get one answer",
    "an answer waits its delay",
    "a person who answers in the delay is not interrupted",
    "hand-over by call, and back",
    "a human's answer from the phone pauses the bot",
    "leaving is answered once, and coming back too",
    "a bot that answers our answers is left alone",
    "reactions, system messages and stale messages get no answer",
}
"""Those in which counts and times that are stored decide. In the others it is what the message, the rules
and the clock say: one database will do."""


@pytest.fixture(scope="module")
async def stage(
    own_database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Theatre]:
    async with theatre(tmp_path_factory.mktemp("theatre"), own_database_url) as running:
        yield running


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in REMEMBERED else pytest.mark.one_database)
        for name in SCRIPTS
    ],
)
async def test_conversation(stage: Theatre, name: str) -> None:
    await stage.perform(SCRIPTS[name])


def test_there_are_enough_scripts() -> None:
    assert len(SCRIPTS) >= 25
    assert set(SCRIPTS) >= REMEMBERED
