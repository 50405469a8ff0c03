"""Signatures of outgoing webhooks: Standard Webhooks, and the headers of the system before.

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
    """A secret of the standard's form: ``whsec_`` and base64 of 32 random bytes."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def signing_key(secret: str) -> bytes:
    """The key of a secret: decoded for the standard's form, else its UTF-8 bytes."""
    if secret.startswith(SECRET_PREFIX):
        try:
            return base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
        except ValueError:
            pass
    return secret.encode()


def of_the_standard(secret: str) -> bool:
    """Whether the standard's libraries take the secret for what it is: ``whsec_`` and base64 of 24 to 64
    bytes.
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
    """The headers of one attempt; ``keys`` newest first, each signs.

    ``at`` is the time of the attempt; the id stays the same over all retries.
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
