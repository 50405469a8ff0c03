"""Numbers, alerts and Meta's updates over HTTP."""
