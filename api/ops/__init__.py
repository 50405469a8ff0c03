"""Endpoints for operators: health, telemetry, the codec."""
