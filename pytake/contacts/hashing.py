"""Hashes of contacts for search attributes, with the installation's key."""

from pytake.access import keys
from pytake.database.engine import Database


class ContactHashes:
    """Hashes contacts; reads the key once."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._key: bytes | None = None

    async def of(self, contact_key: str) -> str:
        """The hash of a contact: the same in every process of the installation."""
        return keys.hash_contact(await self.key(), contact_key)

    async def key(self) -> bytes:
        """The installation's hash key, stored in its database."""
        if self._key is None:
            self._key = await self._database.write(keys.contact_hash_key)
        return self._key
