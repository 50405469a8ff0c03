"""Input of the reconciliation workflow."""

from typing import Final

from pytake.temporal.contract import Contract

RECONCILE_WORKFLOW: Final = "ReconcileWorkflow"


class ReconcileInput(Contract):
    """Input of ReconcileWorkflow and its activity."""

    every_seconds: float = 60.0
    """How often the schedule runs it."""
