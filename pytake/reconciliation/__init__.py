"""Finds workflows that ended in Temporal without a record of ours, and repairs the records."""
