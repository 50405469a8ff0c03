"""What every process has: logs, telemetry, heartbeat, event loop; and their supervisor."""
