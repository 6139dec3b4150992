"""Addresses: what may be one, and which may be given a password, a secret or a token.

A service says itself where its tokens are given, and a service may be mistyped or hostile. So credentials go to

* the service's own origin (RFC 6454), since that is the one that was named,
* any ``https`` address, since nobody on the way can read along or pose as it,
* ``http`` on this machine, where the service is on this machine too: one elsewhere has no business here,
* origins that the caller trusts by name,

and nowhere else.
"""

import ipaddress
import re
from collections.abc import Collection
from typing import Any, Final
from urllib.parse import urlsplit

from stemma.client.problems import UnexpectedAnswer, UntrustedAddress
from stemma.errors import InvalidRequest

# Strict, so that no two readers of an address can see two hosts in it: no user, no backslash, no fragment.
_ADDRESS: Final = re.compile(
    r"(?P<scheme>https?)://(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::(?P<port>\d{1,5}))?"
    r"(?:[/?][!$-\[\]_a-z~]*)?"
)
_PORTS: Final = {"http": "80", "https": "443"}
_LONGEST: Final = 2000


def service_address(url: str) -> str:
    """``url`` as the address of a service, without a slash at its end.

    Raises:
        InvalidRequest: it is no address, or has a password in it.
    """
    try:
        parts = urlsplit(url)
        is_one = parts.scheme in _PORTS and parts.hostname and url.strip() == url and (parts.port or 1)
    except ValueError:
        is_one = False
    if not is_one or parts.query or parts.fragment:
        raise InvalidRequest(f"{url!r} is no address of a service; one begins with http:// or https://")
    if "@" in parts.netloc:
        raise InvalidRequest("the address of a service has no user in it; log in with: stemma login")
    return url.rstrip("/")


def is_loopback(url: str) -> bool:
    """Whether ``url`` is on this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def origin(url: str) -> str:
    """Scheme, host and port of ``url`` (RFC 6454 §6.2)."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    port = "" if parts.port is None or str(parts.port) == _PORTS.get(parts.scheme) else f":{parts.port}"
    return f"{parts.scheme}://{host}{port}"


def absolute(told: Any, service_url: str) -> str:
    """The address that a service told of: whole, or a path below the service.

    Raises:
        UnexpectedAnswer: it is no address.
    """
    if isinstance(told, str) and len(told) <= _LONGEST:
        whole = f"{service_url}{told}" if told.startswith("/") and not told.startswith("//") else told
        found = _ADDRESS.fullmatch(whole)
        if found and int(found["port"] or 1) in range(1, 65536):
            return whole
    raise UnexpectedAnswer(f"{service_url} tells of an address that is none: {str(told)[:100]!r}")


def trusted(told: Any, service_url: str, trusted_origins: Collection[str] = ()) -> str:
    """The same, if it may be given credentials.

    Raises:
        UnexpectedAnswer: it is no address.
        UntrustedAddress: it is one that may not.
    """
    url = absolute(told, service_url)
    found = origin(url)
    is_safe = (
        found.startswith("https:")
        or found == origin(service_url)
        or (is_loopback(url) and is_loopback(service_url))
        or found in {origin(service_address(one)) for one in trusted_origins}
    )
    if not is_safe:
        raise UntrustedAddress(service_url, found)
    return url
