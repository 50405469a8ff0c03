"""Dependencies of the routes of insights."""

from typing import Annotated

from fastapi import Depends, Request

from api.insights.snapshots import Snapshots


async def get_snapshots(request: Request) -> Snapshots:
    """The numbers' snapshots from Meta."""
    snapshots: Snapshots = request.state.snapshots
    return snapshots


SnapshotsDep = Annotated[Snapshots, Depends(get_snapshots)]
