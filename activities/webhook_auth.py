"""How PyTake shows an endpoint who it is."""

import base64
import json
import time
from typing import Any
from urllib.parse import urlencode

from pytake.storage.webhook_tables import WebhookEndpoint
from pytake.webhooks.transport import GuardedClient


class AuthError(Exception):
    """No token could be had; the text says why, without a secret."""


class Authenticator:
    """Headers for each ``auth_type``; OAuth2 tokens are cached until shortly before they expire."""

    def __init__(self, http: GuardedClient) -> None:
        self._http = http
        self._tokens: dict[tuple[str, str], tuple[float, str]] = {}

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
        key = (endpoint.id, json.dumps(client, sort_keys=True))
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
        )
        if answer.status != 200:
            raise AuthError(f"the token endpoint answered HTTP {answer.status}")
        try:
            body = json.loads(answer.body)
            token, lifetime = str(body["access_token"]), float(body.get("expires_in") or 300)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise AuthError("the token endpoint answered without an access_token") from None
        self._tokens[key] = (time.monotonic() + max(lifetime - 30, 0), token)
        return token
