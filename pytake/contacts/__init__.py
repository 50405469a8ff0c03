"""People that tenants write to: identities, opt-outs."""
