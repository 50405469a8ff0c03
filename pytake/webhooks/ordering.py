"""Ordering of a contact's events."""


def conversation_of(phone_number_id: str, contact: str) -> str:
    """The conversation within which events are numbered and ordered."""
    return f"{phone_number_id}:{contact}"
