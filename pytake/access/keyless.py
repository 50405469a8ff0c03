"""Whether the API may serve without keys: for `pytake up` on this machine, until the first key exists.

Revoked keys count, and so does a marker file in the data directory that says that keys existed: an
empty, restored or wrong database does not open the API.
"""

from pathlib import Path
from typing import Final

from pytake.access import keys
from pytake.database.engine import UNAVAILABLE, Database
from pytake.settings import ApiSettings, ConfigurationError, StorageSettings

MARKER: Final = "keys-exist"
_TEXT: Final = (
    "API keys exist, or existed, in this installation: while this file is here, the API serves nobody\n"
    "without one. To serve this machine without keys again, delete this file and start with a database\n"
    "that never had a key.\n"
)


def marker_exists(data_dir: Path) -> bool:
    """Whether the marker file says that keys have existed here."""
    return (data_dir / MARKER).exists()


def write_marker(data_dir: Path) -> None:
    """Record outside the database that keys exist.

    Raises:
        OSError: the data directory cannot be written.
    """
    path = data_dir / MARKER
    if not path.exists():
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.write_text(_TEXT)


def check_keys(api: ApiSettings, storage: StorageSettings) -> bool:
    """Whether the API may serve without keys; decided once, when it starts.

    Raises:
        ConfigurationError: it may not and no key exists, or the database cannot be read.
    """
    database = Database(storage.sqlalchemy_url, threads=1)
    try:
        census = database.read_now(keys.census)
    except UNAVAILABLE as error:
        raise ConfigurationError(
            f"DATABASE_URL: the database cannot be read, run `pytake migrate` ({type(error).__name__})"
        ) from None
    finally:
        database.close()
    if census.total:
        try_write_marker(storage.data_dir)
        return False
    if marker_exists(storage.data_dir):
        raise ConfigurationError(
            f"DATABASE_URL: this database has no API key, but there were keys here "
            f"({storage.data_dir / MARKER}): is it the right database? If it is, create a key with "
            "`pytake key create --admin`"
        )
    if not api.keyless:
        raise ConfigurationError(
            "PYTAKE_KEYLESS: no API key exists: create one with `pytake key create --admin`, or, to serve "
            "this machine only and without keys, set PYTAKE_KEYLESS=1"
        )
    if not api.serves_loopback:
        raise ConfigurationError(
            f"PYTAKE_HOST: refusing to listen on {api.host} without an API key: create one "
            "with `pytake key create`, or listen on 127.0.0.1"
        )
    return True


def try_write_marker(data_dir: Path) -> None:
    """Like :func:`write_marker`, but does nothing if the data directory cannot be written."""
    try:
        write_marker(data_dir)
    except OSError:
        return  # e.g. a container running `pytake api`, which needs a key unless PYTAKE_KEYLESS is set
