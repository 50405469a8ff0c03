"""What workflows, signals and activities take and return."""

from pydantic import BaseModel, ConfigDict


class Contract(BaseModel):
    """Base of everything that is stored in workflow histories."""

    model_config = ConfigDict(extra="ignore")
