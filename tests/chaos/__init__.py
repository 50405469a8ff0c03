"""Faults against the real processes, and the promises checked from outside: ``make chaos``."""
