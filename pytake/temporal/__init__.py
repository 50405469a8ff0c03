"""Temporal: connection, queues, search attributes, payload encryption, the embedded server."""
