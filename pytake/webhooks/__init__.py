"""Webhooks to tenants' systems: signing, and the guarded way to a URL that a stranger chose."""
