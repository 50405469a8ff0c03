"""Outgoing webhooks: events, deliveries, signing, and guarded HTTP to tenant-chosen URLs."""
