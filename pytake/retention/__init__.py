"""Deletes data that is older than the retention."""
