"""API keys and the secrets of the installation."""

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlmodel import Session, col

from pytake.access.tables import ApiKey, InstallSecret
from pytake.database.upsert import insert_into

_PREFIX = "ptk"


def create(
    session: Session, *, tenant_id: str, admin: bool, name: str, now: datetime
) -> tuple[ApiKey, str]:
    """Create a key; return it with its text ``ptk_<id>_<secret>``, which is not stored."""
    key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    key = ApiKey(
        id=key_id,
        tenant_id=tenant_id,
        admin=admin,
        name=name,
        secret_hash=_hash(secret),
        created_at=now,
    )
    session.add(key)
    return key, f"{_PREFIX}_{key_id}_{secret}"


@dataclass(frozen=True, slots=True)
class ActiveKey:
    """An active key: the hash that it is checked against, and what it allows."""

    id: str
    tenant_id: str
    admin: bool
    secret_hash: bytes


def find(active: Mapping[str, ActiveKey], text: str) -> ActiveKey | None:
    """The key with the text ``text``, among ``active`` (by id)."""
    prefix, _, rest = text.partition("_")
    key_id, _, secret = rest.partition("_")
    if prefix != _PREFIX or not key_id or not secret:
        return None
    key = active.get(key_id)
    expected = key.secret_hash if key else _hash("")
    return key if hmac.compare_digest(expected, _hash(secret)) else None


@dataclass(frozen=True, slots=True)
class Census:
    """How many keys there have ever been; differs after a key is created or revoked."""

    total: int
    revoked: int
    last_created: datetime | None
    last_revoked: datetime | None


def census(session: Session) -> Census:
    """Count all keys, including revoked ones."""
    created, revoked = col(ApiKey.created_at), col(ApiKey.revoked_at)
    statement = select(func.count(), func.count(revoked), func.max(created), func.max(revoked))
    return Census(*session.execute(statement.select_from(ApiKey)).one())


def active(session: Session) -> dict[str, ActiveKey]:
    """Keys that are not revoked, by id."""
    columns = (col(ApiKey.id), col(ApiKey.tenant_id), col(ApiKey.admin), col(ApiKey.secret_hash))
    rows = session.execute(select(*columns).where(col(ApiKey.revoked_at).is_(None)))
    return {row[0]: ActiveKey(*row) for row in rows}


def list_all(session: Session) -> list[ApiKey]:
    """Every key, oldest first."""
    return list(session.scalars(select(ApiKey).order_by(col(ApiKey.created_at))))


def revoke(session: Session, key_id: str, now: datetime) -> bool:
    """Revoke a key; return whether an active one with this id existed."""
    key = session.get(ApiKey, key_id)
    if key is None or key.revoked_at is not None:
        return False
    key.revoked_at = now
    session.add(key)
    return True


def contact_hash_key(session: Session) -> bytes:
    """The key that hashes contacts for search attributes; created at first use."""
    session.execute(
        insert_into(session, InstallSecret)
        .values(name="contact-hash", tenant_id="*", value=secrets.token_bytes(32))
        .on_conflict_do_nothing()
    )
    return session.get_one(InstallSecret, "contact-hash").value


def hash_contact(key: bytes, contact_key: str) -> str:
    """A keyed hash of a contact for search attributes: equal for equal contacts, not guessable."""
    return hmac.digest(key, contact_key.encode(), "sha256").hex()[:32]


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
