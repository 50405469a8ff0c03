"""Base of the inputs and results of workflows, signals and activities."""

from pydantic import BaseModel, ConfigDict


class Contract(BaseModel):
    """Base of everything that is stored in workflow histories."""

    model_config = ConfigDict(extra="ignore")
