"""Conversations and the auto-responder: rules, decisions, state."""
