"""The HTTP API: thin; starts workflows and reads their state."""
