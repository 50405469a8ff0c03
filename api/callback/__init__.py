"""Meta's callback over HTTP."""
