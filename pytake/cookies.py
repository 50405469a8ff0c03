"""A cookie jar that stays empty: no server that PyTake calls may leave anything for the next call."""

from http.cookiejar import CookieJar
from typing import Any


class NoCookies(CookieJar):
    """For ``httpx.AsyncClient(cookies=...)``: ``Set-Cookie`` is not even parsed, ``Cookie`` never sent.

    One client serves all tenants; a jar would carry what one tenant's receiver set to another's. A
    ``Cookie`` among a tenant's own ``custom_headers`` is that tenant's header and goes out as it is.
    """

    def extract_cookies(self, response: Any, request: Any) -> None:
        """Take nothing."""

    def add_cookie_header(self, request: Any) -> None:
        """Add nothing."""
