"""Signatures of outgoing webhooks: Standard Webhooks, and the legacy headers.

Source: https://www.standardwebhooks.com (specification, read September 2026).
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from standardwebhooks import Webhook

SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - a prefix, no secret


def new_secret() -> str:
    """A new secret in the standard's form: ``whsec_`` and base64 of 32 random bytes."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def signing_key(secret: str) -> bytes:
    """The signing key of a secret: base64-decoded if in the standard's form, else its UTF-8 bytes."""
    if secret.startswith(SECRET_PREFIX):
        try:
            return base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
        except ValueError:
            pass
    return secret.encode()


def is_standard(secret: str) -> bool:
    """Whether the secret has the form that Standard Webhooks libraries accept: ``whsec_`` and base64 of 24
    to 64 bytes.
    """
    return (
        secret.startswith(SECRET_PREFIX)
        and (key := signing_key(secret)) != secret.encode()
        and 24 <= len(key) <= 64
    )


def signature_headers(
    *,
    event_id: str,
    event_type: str,
    tenant_id: str,
    at: datetime,
    body: str,
    keys: Sequence[bytes],
) -> dict[str, str]:
    """The headers of one attempt, signed with each of ``keys`` (newest first).

    ``at`` is the time of the attempt; the id stays the same across retries.
    """
    signatures = " ".join(Webhook(key).sign(event_id, at, body) for key in keys)
    digest = hmac.new(keys[0], body.encode(), hashlib.sha256).hexdigest()
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": signatures,
        "X-Webhook-Signature": f"sha256={digest}",
        "X-Event-Type": event_type,
        "X-Event-ID": event_id,
        "X-Tenant-ID": tenant_id,
        "X-Timestamp": str(int(at.timestamp())),
    }
