"""Input of the retention workflow."""

from typing import Final

from pytake.temporal.contract import Contract

PRUNE_WORKFLOW: Final = "PruneWorkflow"


class PruneInput(Contract):
    """Input of PruneWorkflow: delete what is older than ``days``."""

    days: float
