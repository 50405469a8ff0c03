"""Dependencies of the routes of insights."""

from typing import Annotated

from api.dependencies import from_state
from api.insights.snapshots import Snapshots

SnapshotsDep = Annotated[Snapshots, from_state("snapshots")]
"""The numbers' snapshots from Meta."""
