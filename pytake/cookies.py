"""A cookie jar that stays empty, so that no server can set state for later calls."""

from http.cookiejar import CookieJar
from typing import Any


class NoCookies(CookieJar):
    """For ``httpx.AsyncClient(cookies=...)``: ``Set-Cookie`` is not even parsed, ``Cookie`` never sent.

    One client serves all tenants; a jar would send one tenant's cookies to another's endpoint. A
    ``Cookie`` among a tenant's ``custom_headers`` is an ordinary header and is sent unchanged.
    """

    def extract_cookies(self, response: Any, request: Any) -> None:
        """Do nothing."""

    def add_cookie_header(self, request: Any) -> None:
        """Do nothing."""
