"""Activities of messages."""
