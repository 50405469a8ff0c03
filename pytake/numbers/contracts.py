"""Inputs and results of a number's workflow and activity."""

from typing import Final

from pytake.temporal.contract import Contract

NUMBER_WORKFLOW: Final = "NumberWorkflow"
CHANGED_SIGNAL: Final = "changed"


def number_workflow_id(phone_number_id: str) -> str:
    """The id of the workflow that steers a number's rate."""
    return f"number-{phone_number_id}"


class NumberInput(Contract):
    """Input of the workflow that steers one number."""

    phone_number_id: str


class NumberStep(Contract):
    """The number workflow's next step: run again after ``wait_seconds``, or end if that is 0."""

    wait_seconds: float = 0
    note: str = ""
