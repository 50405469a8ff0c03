"""Deleting what is older than it has to be."""
