"""Durable processes: deterministic, no I/O."""
