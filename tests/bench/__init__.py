"""Benchmarks: ``make bench``. Figures for people, never asserted in a test."""
