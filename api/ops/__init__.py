"""What operators ask of a running API: health, telemetry, the codec."""
