"""Dependencies of the routes of Meta's callback."""

from typing import Annotated

from fastapi import Depends, Request

from pytake.callback.follow_up import FollowUp


async def get_follow_up(request: Request) -> FollowUp:
    """Starts the work that a stored request calls for."""
    follow_up: FollowUp = request.state.follow_up
    return follow_up


FollowUpDep = Annotated[FollowUp, Depends(get_follow_up)]
