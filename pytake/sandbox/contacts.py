"""The sandbox's contacts as webhooks name them: by phone number, and by business-scoped user id.

Source: Meta's page on business-scoped user ids (May 2026). Who is written to by user id stays without
a phone number; a ``failed`` status names its recipient as the message did, and has no contact.
"""

import hashlib
from functools import lru_cache
from typing import Any

from phonenumbers import COUNTRY_CODE_TO_REGION_CODE

from pytake.contacts.identities import contact_key, is_user_id


@lru_cache(maxsize=10_000)
def user_id(address: str) -> str:
    """The user id of a contact: always the same, in both spellings of a Brazilian number."""
    if is_user_id(address):
        return address
    digest = hashlib.sha256(contact_key(address).encode()).digest()
    return f"{_country(address)}.{int.from_bytes(digest[:8]):020d}"


def _country(digits: str) -> str:
    for length in (1, 2, 3):
        prefix = digits[:length]
        code = int(prefix) if prefix.isascii() and prefix.isdigit() else 0
        if regions := COUNTRY_CODE_TO_REGION_CODE.get(code):
            return regions[0] if regions[0].isalpha() else "ZZ"
    return "ZZ"


def contact(address: str, name: str) -> dict[str, Any]:
    """An entry of ``contacts``."""
    known = {} if is_user_id(address) else {"wa_id": address}
    return {"profile": {"name": name}, **known, "user_id": user_id(address)}


def sender(address: str) -> dict[str, str]:
    """Who wrote, in an entry of ``messages``."""
    known = {} if is_user_id(address) else {"from": address}
    return {**known, "from_user_id": user_id(address)}


def recipient(address: str, status: str) -> dict[str, str]:
    """Who was written to, in an entry of ``statuses``."""
    if is_user_id(address):
        return {"recipient_user_id": address}
    if status == "failed":
        return {"recipient_id": address}
    return {"recipient_id": address, "recipient_user_id": user_id(address)}
