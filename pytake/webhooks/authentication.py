"""How PyTake authenticates to an endpoint."""

import base64
import hashlib
import json
import math
import time
from typing import Any, Final
from urllib.parse import urlencode

from pytake.webhooks.headers import value_problem
from pytake.webhooks.tables import WebhookEndpoint
from pytake.webhooks.transport import GuardedClient

_LIFETIME: Final = 300.0
"""Assumed lifetime of a token in seconds, if the response does not say."""
_LONGEST: Final = 24 * 3600.0
"""Longest time in seconds to keep a token, whatever the response says."""
_EARLY: Final = 30.0
"""Seconds before its expiry that a token is replaced."""
_CACHED: Final = 1000


class AuthError(Exception):
    """No token could be obtained; the text says why, without secrets."""


class Authenticator:
    """Headers for each ``auth_type``; OAuth2 tokens are cached until shortly before they expire."""

    def __init__(self, http: GuardedClient) -> None:
        self._http = http
        self._tokens: dict[bytes, tuple[float, str]] = {}

    async def headers(
        self, endpoint: WebhookEndpoint, sealed: dict[str, Any], *, fresh: bool
    ) -> dict[str, str]:
        """The headers of a request; ``fresh`` asks for a new token.

        Raises:
            AuthError, DeliveryError, BlockedUrlError: the token endpoint failed.
        """
        value = sealed.get("auth_value") or ""
        if endpoint.auth_type == "BearerToken":
            return {"Authorization": f"Bearer {value}"}
        if endpoint.auth_type == "BasicAuth":
            return {"Authorization": f"Basic {base64.b64encode(value.encode()).decode()}"}
        if endpoint.auth_type == "ApiKey":
            return {sealed["auth_header"]: value}
        if endpoint.auth_type == "OAuth2":
            token = await self._token(endpoint, sealed["oauth2"], fresh=fresh)
            return {"Authorization": f"Bearer {token}"}
        return {}

    async def _token(
        self, endpoint: WebhookEndpoint, client: dict[str, Any], *, fresh: bool
    ) -> str:
        parts = json.dumps([endpoint.tenant_id, endpoint.id, client], sort_keys=True)
        key = hashlib.sha256(parts.encode()).digest()
        cached = self._tokens.get(key)
        if cached is not None and not fresh and cached[0] > time.monotonic():
            return cached[1]
        form = {"grant_type": "client_credentials"}
        if client.get("scope"):
            form["scope"] = client["scope"]
        pair = f"{client['client_id']}:{client['client_secret']}".encode()
        answer, _ = await self._http.post(
            client["token_url"],
            headers={
                "Content-Type": "application/x-www-form-urlencoded",
                "Accept": "application/json",
                "Authorization": f"Basic {base64.b64encode(pair).decode()}",
            },
            body=urlencode(form).encode(),
            deadline=endpoint.timeout_seconds,
            owner=endpoint.tenant_id,
        )
        if answer.status != 200:
            raise AuthError(f"the token endpoint answered HTTP {answer.status}")
        token, lifetime = parse_token(answer.body)
        if len(self._tokens) >= _CACHED:
            self._tokens.pop(next(iter(self._tokens)))
        self._tokens[key] = (time.monotonic() + max(lifetime - _EARLY, 0), token)
        return token


def parse_token(text: str) -> tuple[str, float]:
    """The token in a token endpoint's response (RFC 6749, 5.1), and its lifetime in seconds.

    Raises:
        AuthError: it contains no token, or one that an ``Authorization`` header cannot carry.
    """
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        raise AuthError("the token endpoint's answer is not JSON") from None
    token = body.get("access_token") if isinstance(body, dict) else None
    if not isinstance(token, str) or not token:
        raise AuthError("the token endpoint answered without an access_token")
    if value_problem(token) is not None:
        raise AuthError("the token endpoint's access_token cannot be sent in a header")
    return token, _seconds(body.get("expires_in"))


def _seconds(expires_in: Any) -> float:
    """Parse ``expires_in``: a number by the RFC, but some endpoints send a string."""
    try:
        seconds = float(expires_in)
    except (TypeError, ValueError, OverflowError):
        return _LIFETIME
    return min(max(seconds, 0.0), _LONGEST) if math.isfinite(seconds) else _LIFETIME
