"""What keeps a contact's events in order."""


def conversation_of(phone_number_id: str, contact: str) -> str:
    """What events are numbered and ordered by."""
    return f"{phone_number_id}:{contact}"
