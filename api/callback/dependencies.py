"""Dependencies of the routes of Meta's callback."""

from typing import Annotated

from api.dependencies import from_state
from pytake.callback.follow_up import FollowUp

FollowUpDep = Annotated[FollowUp, from_state("follow_up")]
"""Starts the work that a stored request calls for."""
