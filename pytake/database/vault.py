"""Encryption at rest of tenants' secrets, tokens and certificates.

Fernet (AES-128-CBC with HMAC-SHA256), from ``cryptography``. The first key encrypts, all keys decrypt:
to rotate, put a new key in front, run ``pytake rotate-encryption``, and remove the old key.
"""

import base64
import json
import os
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from pytake.settings import ConfigurationError, StorageSettings


class Vault:
    """Encrypts and decrypts JSON objects."""

    def __init__(self, keys: list[str]) -> None:
        try:
            self._fernet = MultiFernet([Fernet(key) for key in keys])
        except ValueError:
            raise ConfigurationError(
                "PYTAKE_ENCRYPTION_KEYS: each key must be 32 bytes in URL-safe base64: make one with "
                "`pytake encryption-key`"
            ) from None

    def seal(self, value: dict[str, Any]) -> bytes:
        """Encrypt."""
        return self._fernet.encrypt(json.dumps(value).encode())

    def seal_bytes(self, value: bytes) -> bytes:
        """Encrypt bytes; the result is binary, not base64."""
        return base64.urlsafe_b64decode(self._fernet.encrypt(value))

    def open_bytes(self, sealed: bytes) -> bytes:
        """Decrypt what :meth:`seal_bytes` made.

        Raises:
            ConfigurationError: none of the keys fits.
        """
        return self._open(base64.urlsafe_b64encode(sealed))

    def open(self, sealed: bytes) -> dict[str, Any]:
        """Decrypt.

        Raises:
            ConfigurationError: none of the keys fits.
        """
        value: dict[str, Any] = json.loads(self._open(sealed))
        return value

    def _open(self, token: bytes) -> bytes:
        try:
            return self._fernet.decrypt(token)
        except InvalidToken:
            raise ConfigurationError(
                "PYTAKE_ENCRYPTION_KEYS: none of the keys decrypts what is stored"
            ) from None


def open_vault(settings: StorageSettings) -> Vault:
    """The vault of the settings; on SQLite a key is created in the data directory at first use.

    Raises:
        ConfigurationError: another database needs ``PYTAKE_ENCRYPTION_KEYS``.
    """
    if settings.encryption_keys is not None:
        text = settings.encryption_keys.get_secret_value()
        return Vault([key.strip() for key in text.split(",") if key.strip()])
    if not settings.sqlalchemy_url.startswith("sqlite"):
        raise ConfigurationError(
            "PYTAKE_ENCRYPTION_KEYS: set it (make a key with `pytake encryption-key`): every process "
            "needs the same"
        )
    return Vault([_local_key(settings.data_dir / "encryption.key")])


def _local_key(path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text().strip()
    key = Fernet.generate_key().decode()
    with os.fdopen(descriptor, "w") as file:
        file.write(key)
    return key
