"""The vault: rotation of keys, and where they come from."""

from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from pytake.database.vault import Vault, open_vault
from pytake.settings import ConfigurationError, load_settings


def test_the_vault_rotates() -> None:
    old, new = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    sealed = Vault([old]).seal({"secret": "s"})
    both = Vault([new, old])
    assert both.open(sealed) == {"secret": "s"}
    assert Vault([new]).open(both.seal({"a": 1})) == {"a": 1}
    with pytest.raises(ConfigurationError, match="PYTAKE_ENCRYPTION_KEYS"):
        Vault([new]).open(sealed)
    with pytest.raises(ConfigurationError, match="PYTAKE_ENCRYPTION_KEYS"):
        Vault(["short"])


def test_a_key_is_made_for_sqlite_only(tmp_path: Path) -> None:
    given = {"PYTAKE_DATA_DIR": tmp_path}
    storage = load_settings(given, env_file=None).storage
    sealed = open_vault(storage).seal({"a": 1})
    assert open_vault(storage).open(sealed) == {"a": 1}
    assert (tmp_path / "encryption.key").stat().st_mode & 0o777 == 0o600
    storage = load_settings({**given, "DATABASE_URL": "postgresql://h/d"}, env_file=None).storage
    with pytest.raises(ConfigurationError, match="PYTAKE_ENCRYPTION_KEYS"):
        open_vault(storage)
