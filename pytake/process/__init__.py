"""Shared by all processes: logs, telemetry, heartbeat, event loop; and their supervisor."""
