"""Links from what the API shows to Temporal's Web UI."""


class WorkflowLinks:
    """Where the Web UI at ``base_url`` shows the workflows of a namespace."""

    def __init__(self, base_url: str, namespace: str) -> None:
        self._workflows = f"{base_url}/namespaces/{namespace}/workflows"

    def of(self, workflow_id: str) -> dict[str, str]:
        """The ``links`` of an answer about what the workflow does."""
        return {"temporal_ui": f"{self._workflows}/{workflow_id}"}
