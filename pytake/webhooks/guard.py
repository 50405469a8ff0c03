"""Which URLs and addresses a tenant's webhook may reach (protection against SSRF).

``ipaddress.is_global`` alone lets some special ranges through; the additional ones denied here are from
the IANA special-purpose registries (read September 2026).
"""

import ipaddress
import re
from collections.abc import Sequence
from typing import Final, TypeAlias
from urllib.parse import urlsplit

import httpx

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

_DENIED: Final = tuple(
    ipaddress.ip_network(network)
    for network in (
        "0.0.0.0/8",
        "100.64.0.0/10",
        "192.0.0.0/24",
        "192.88.99.0/24",
        "198.18.0.0/15",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "::/96",
        "64:ff9b::/96",
        "64:ff9b:1::/48",
        "100::/64",
        "2001::/23",
        "2002::/16",
        "3fff::/20",
        "5f00::/16",
        "fc00::/7",
        "fe80::/10",
        "fec0::/10",
        "ff00::/8",
    )
)
_IPV6_UNICAST: Final = ipaddress.ip_network("2000::/3")
"""All that IANA has allocated as global unicast (IPv6 Address Space registry): addresses outside are not
public, whatever ``is_global`` says.
"""

FORBIDDEN_HEADERS: Final = re.compile(
    r"(host|connection|transfer-encoding|user-agent|te|trailer|upgrade|expect|keep-alive"
    r"|content-.*|webhook-.*|proxy-.*|x-webhook-signature|x-event-type|x-event-id|x-tenant-id|x-timestamp)",
    re.IGNORECASE,
)
"""Headers that a tenant may not set: those of HTTP framing, and the signature headers."""


class BlockedUrlError(ValueError):
    """The URL, or an address it resolves to, is not allowed; the text says why."""


def parse_networks(text: str) -> tuple[Network, ...]:
    """The networks of a comma-separated CIDR list.

    Raises:
        ValueError: an entry is no network.
    """
    return tuple(ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip())


def check_url(url: str, ports: frozenset[int] = frozenset()) -> None:
    """Check a URL without resolving it; empty ``ports`` allows all ports.

    Raises:
        BlockedUrlError: it is not a valid HTTP(S) URL, or not allowed.
    """
    if len(url) > 2048 or re.search(r"[\x00-\x20\x7f\\]", url):
        raise BlockedUrlError("must be an address without spaces or control characters")
    try:
        # The HTTP client's own parser, so that both agree about the host. It decodes ``xn--`` names only
        # when accessed.
        _ = httpx.URL(url).host
        parts = urlsplit(url)
        port = parts.port
    except (ValueError, httpx.InvalidURL):
        raise BlockedUrlError("is not a valid address") from None
    if parts.scheme not in ("http", "https"):
        raise BlockedUrlError("must start with http:// or https://")
    if not parts.hostname:
        raise BlockedUrlError("has no host")
    if parts.username is not None or parts.password is not None:
        raise BlockedUrlError("must not contain credentials: use auth_type")
    if port == 0:
        raise BlockedUrlError("has port 0")
    if ports and (port or (443 if parts.scheme == "https" else 80)) not in ports:
        raise BlockedUrlError(f"port {port} is not allowed")


def check_address(text: str, allowed: Sequence[Network] = ()) -> None:
    """Check an IP address before connecting to it.

    Raises:
        BlockedUrlError: it is not a public unicast address, and in none of ``allowed``.
    """
    try:
        address: Address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        raise BlockedUrlError("is not an address") from None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if any(address.version == network.version and address in network for network in allowed):
        return
    denied = any(address.version == n.version and address in n for n in _DENIED) or (
        address.version == 6 and address not in _IPV6_UNICAST
    )
    if denied or not address.is_global or address.is_multicast:
        raise BlockedUrlError(f"resolves to {address}, which is not a public address")
