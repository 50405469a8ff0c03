"""Links from responses to the Temporal Web UI."""


class WorkflowLinks:
    """Links to a namespace's workflows in the Web UI at ``base_url``."""

    def __init__(self, base_url: str, namespace: str) -> None:
        self._workflows = f"{base_url}/namespaces/{namespace}/workflows"

    def of(self, workflow_id: str) -> dict[str, str]:
        """The ``links`` of a response about what the workflow does."""
        return {"temporal_ui": f"{self._workflows}/{workflow_id}"}
