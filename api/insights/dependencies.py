"""What the routes of insights ask for."""

from typing import Annotated

from fastapi import Depends, Request

from api.insights.snapshots import Snapshots


async def get_snapshots(request: Request) -> Snapshots:
    """What Meta told last of the numbers."""
    snapshots: Snapshots = request.state.snapshots
    return snapshots


SnapshotsDep = Annotated[Snapshots, Depends(get_snapshots)]
