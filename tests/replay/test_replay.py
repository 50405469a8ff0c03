"""Saved histories replay on the current workflows, so that messages in flight survive a deployment.

When this fails, either put the change behind ``workflow.patched``, or record new histories
(``python -m tests.replay.record``) and give the reason in the commit.
"""

from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Replayer

import worker
from tests.replay.record import HISTORIES, SCENARIOS


def test_every_scenario_has_a_history() -> None:
    assert {path.stem for path in HISTORIES.glob("*.json")} == {s.__name__ for s in SCENARIOS}


@pytest.mark.parametrize("path", sorted(HISTORIES.glob("*.json")), ids=lambda path: path.stem)
async def test_history_replays(path: Path) -> None:
    replayer = Replayer(
        workflows=worker.WORKFLOWS,
        data_converter=pydantic_data_converter,
        workflow_runner=worker.workflow_runner(),
    )
    await replayer.replay_workflow(WorkflowHistory.from_json(path.stem, path.read_text()))


def _history(name: str) -> WorkflowHistory:
    return WorkflowHistory.from_json(name, (HISTORIES / f"{name}.json").read_text())


def test_the_happy_path_has_the_fewest_events_that_temporal_allows() -> None:
    assert {name: len(_history(name).events) for name in ("sent_directly", "sent")} == {
        "sent_directly": 6,  # one workflow task, and a marker with its local activity's result
        "sent": 12,  # plus one activity and the workflow task that follows it
    }


async def test_the_happy_path_is_refused_by_other_code() -> None:
    history = _history("sent")
    for event in history.events:
        if event.HasField("activity_task_scheduled_event_attributes"):
            event.activity_task_scheduled_event_attributes.activity_type.name = "another_activity"
    replayer = Replayer(
        workflows=worker.WORKFLOWS,
        data_converter=pydantic_data_converter,
        workflow_runner=worker.workflow_runner(),
    )
    with pytest.raises(Exception, match=r"another_activity|[Nn]ondeterminis"):
        await replayer.replay_workflow(history)
