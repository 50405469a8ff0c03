"""Whether a request to a server without keys comes from this machine's own programs and pages.

Any web page can send requests to a server on this machine, and a page's host name can be made to
resolve to it (DNS rebinding); a proxy lets the whole network in. The browser's headers
(``Origin``, ``Sec-Fetch-Site``, https://www.w3.org/TR/fetch-metadata/), the ``Host`` and a proxy's
headers distinguish such requests from those of commands, scripts and our own pages.
"""

from collections.abc import Collection, Iterable
from typing import Final
from urllib.parse import urlsplit

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from pytake.settings import is_loopback

_PROXY: Final = (b"forwarded", b"x-real-ip", b"via")
_OWN_SITES: Final = (b"same-origin", b"none")


def foreign_reason(
    headers: Iterable[tuple[bytes, bytes]], host: str, origins: Collection[str] = ()
) -> str | None:
    """Why a request does not come from this machine alone; ``None`` if it does.

    Args:
        headers: the request's headers, names in lower case.
        host: the name that the server listens on; loopback names are allowed as well.
        origins: origins of other pages that may send requests.
    """
    hosts, origin, site = [], None, None
    for name, value in headers:
        if name == b"host":
            hosts.append(value.decode("latin-1"))
        elif name == b"origin":
            origin = value.decode("latin-1")
        elif name == b"sec-fetch-site":
            site = value
        elif name.startswith(b"x-forwarded-") or name in _PROXY:
            return f"it came through a proxy ({name.decode('latin-1')[:40]})"
    if len(hosts) != 1 or not _is_own_host(hosts[0], host):
        return "its Host is not a name of this machine"
    if origin is not None:
        if origin in origins:
            return None
        if origin not in (f"http://{hosts[0]}", f"https://{hosts[0]}"):
            return "it was sent by a page of another site (Origin)"
    if site is not None and site not in _OWN_SITES:
        return "it was sent by a page of another site (Sec-Fetch-Site)"
    return None


class LocalOnly:
    """Answers 403 to requests that do not come from this machine's own programs and pages."""

    def __init__(self, app: ASGIApp, host: str) -> None:
        self._app = app
        self._host = host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] == "http" and (why := foreign_reason(scope["headers"], self._host)):
            await JSONResponse({"detail": f"refused: {why}"}, 403)(scope, receive, send)
            return
        await self._app(scope, receive, send)


def _is_own_host(value: str, host: str) -> bool:
    try:
        name = urlsplit(f"//{value}").hostname
    except ValueError:
        return False
    return name is not None and (is_loopback(name) or name == host.strip("[]").lower())
