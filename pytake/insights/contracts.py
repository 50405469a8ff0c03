"""Inputs and results of the snapshot workflow and its activities."""

from typing import Final

from pydantic import Field

from pytake.temporal.contract import Contract

SNAPSHOT_WORKFLOW: Final = "SnapshotWorkflow"


class SnapshotInput(Contract):
    """Input of SnapshotWorkflow and its activities."""

    phone_number_ids: list[str] = Field(default_factory=list)
    """Empty for all numbers."""
    days: int = 0
    """How many days of counts to fetch; 0: the numbers' fields instead."""


class SnapshotResult(Contract):
    """Result of SnapshotWorkflow."""

    taken: int = 0
    problems: list[str] = Field(default_factory=list)
