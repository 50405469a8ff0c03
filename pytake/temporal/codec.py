"""Encryption of what Temporal stores: inputs, results, memos and details of failures.

Temporal sees only ciphertext; search attributes and workflow ids stay readable and hold no personal
data. Decoding accepts payloads encrypted with any of the keys and unencrypted ones, so that encryption
can be switched on while messages are in flight.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from temporalio.api.common.v1 import Payload
from temporalio.converter import PayloadCodec

from pytake.database.vault import Vault, open_vault
from pytake.settings import StorageSettings

ENCODING: Final = b"binary/encrypted"
_IN_A_THREAD: Final = 64 * 1024
"""Size in bytes from which encryption is done in a thread."""


class EncryptionCodec(PayloadCodec):
    """Encrypts with the first key of a vault (if ``encrypt``), decrypts with any of them."""

    def __init__(self, vault: Vault, *, encrypt: bool = True) -> None:
        self._vault = vault
        self._encrypt = encrypt

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Encrypt each payload, its metadata included."""
        if not self._encrypt:
            return list(payloads)
        return await self._all(self._sealed, payloads)

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Decrypt the payloads that are encrypted.

        Raises:
            ConfigurationError: none of the keys fits.
        """
        return await self._all(self._opened, payloads)

    @staticmethod
    async def _all(
        change: Callable[[Payload], Payload], payloads: Sequence[Payload]
    ) -> list[Payload]:
        if sum(len(payload.data) for payload in payloads) < _IN_A_THREAD:
            return [change(payload) for payload in payloads]
        return await asyncio.to_thread(lambda: [change(payload) for payload in payloads])

    def _sealed(self, payload: Payload) -> Payload:
        data = self._vault.seal_bytes(payload.SerializeToString())
        return Payload(metadata={"encoding": ENCODING}, data=data)

    def _opened(self, payload: Payload) -> Payload:
        if payload.metadata.get("encoding") != ENCODING:
            return payload
        return Payload.FromString(self._vault.open_bytes(payload.data))


def codec_of(settings: StorageSettings) -> EncryptionCodec | None:
    """The codec of the settings; ``None`` if there are no keys.

    Raises:
        ConfigurationError: payloads are to be encrypted but there is no key, or a key is not valid.
    """
    encrypt = settings.encrypts_payloads
    if not encrypt and settings.encryption_keys is None:
        return None
    return EncryptionCodec(open_vault(settings), encrypt=encrypt)
