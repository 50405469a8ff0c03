"""What the workflow of retention takes."""

from pytake.temporal.contract import Contract


class PruneInput(Contract):
    """Input of PruneWorkflow: delete what is older than ``days``."""

    days: float
