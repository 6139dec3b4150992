"""Which addresses this service may ask on somebody's behalf: by how they are written, and by where they lead.

What an address says is checked before anything is asked; where its name leads is checked after it was looked up, for
every answer that came. All refusals have one wording, so that nobody learns from them what lies in our network.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final
from urllib.parse import urljoin

import httpx

from stemma.errors import AddressRefused, SourceUnusable

MAX_CHARACTERS: Final = 4096
_USUAL_PORTS: Final = {"https": 443, "http": 80}
_NAME: Final = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*")
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
_LOCAL_ENDINGS: Final = (".localhost", ".local", ".internal", ".home.arpa")
_Network = IPv4Network | IPv6Network


def _networks(*written: str) -> tuple[_Network, ...]:
    return tuple(ip_network(one) for one in written)


_PUBLIC_IPV6: Final = IPv6Network("2000::/3")
_NEVER_PUBLIC: Final = _networks(
    "192.88.99.0/24",  # 6to4 relays
    "2001::/23",  # Teredo and other special purposes
    "2002::/16",  # 6to4: carries an IPv4 address
    "3fff::/20",  # documentation; older Pythons do not know it
)
_INSTITUTES: Final = _networks(
    "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "127.0.0.0/8", "fc00::/7", "::1/128"
)
"""Where servers of one's own are. Link-local addresses are none: clouds give out credentials there."""


@dataclass(frozen=True, slots=True)
class Target:
    """An address that may be asked, as far as it can be seen without looking up its name."""

    url: str
    """Without fragment."""
    scheme: str
    host: str
    """A name or an address, in lower case, without brackets and without a dot at its end."""
    port: int
    path: bytes
    """What to ask for there: path and query."""

    @property
    def authority(self) -> str:
        """What the server is to know as its name."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _USUAL_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def shown(self) -> str:
        """Without what may be a key to it: its query."""
        return f"{self.scheme}://{self.authority}{self.path.partition(b'?')[0].decode('ascii')}"


@dataclass(frozen=True, slots=True)
class Listed:
    """A server that the settings name."""

    name: str
    """In lower case; ``*.`` at its beginning stands for everything below."""
    port: int | None
    """None for the usual one."""

    def covers(self, host: str, port: int) -> bool:
        """Whether ``host`` at ``port`` is meant."""
        if port != self.port if self.port is not None else port not in _USUAL_PORTS.values():
            return False
        return host.endswith(self.name[1:]) if self.name.startswith("*.") else host == self.name


def listed(written: str) -> tuple[Listed, ...]:
    """The servers in a list with commas: ``data.example.org, *.example.edu, files.example.org:8443``."""
    servers = []
    for entry in filter(None, (part.strip().lower() for part in written.split(","))):
        name, _, port = entry.partition(":")
        servers.append(Listed(name, int(port) if port else None))
    return tuple(servers)


@dataclass(frozen=True, slots=True)
class Policy:
    """What the settings say of addresses."""

    plain_http: bool = False
    hosts: tuple[Listed, ...] = ()
    """Empty for any public server at its usual port."""
    private_hosts: tuple[Listed, ...] = ()

    def redirected(self, target: "Target", location: str | None, what: str) -> "Target":
        """Where the server of ``target`` redirects to.

        Raises:
            SourceUnusable: it does not say.
            AddressRefused: that must not be asked.
        """
        if location is None:
            raise SourceUnusable(what, "its server redirects without saying where to")
        try:
            following = urljoin(target.url, location)
        except ValueError as error:
            raise AddressRefused(what) from error
        return self.checked(following, what)

    def checked(self, url: str, what: str) -> Target:
        """``url``, when nothing in how it is written speaks against it; ``what`` it is the address of.

        Raises:
            AddressRefused: otherwise.
        """
        target = parsed(url)
        if target is None or not self._is_fit(target):
            raise AddressRefused(what)
        return target

    def may_go(self, host: str, port: int, usual_port: int) -> bool:
        """Whether ``host`` may be asked in another way than that of the web, which has its own usual port."""
        if self.is_private(host, port) or (port == usual_port and self.is_private(host, _USUAL_PORTS["https"])):
            return True
        if port != usual_port or not _may_be_public(host):
            return False
        return not self.hosts or any(one.covers(host, _USUAL_PORTS["https"]) for one in self.hosts)

    def is_named(self, host: str, port: int, usual_port: int) -> bool:
        """Whether the operators named that server."""
        usual = _USUAL_PORTS["https"] if port == usual_port else port
        return any(one.covers(host, at) for one in (*self.hosts, *self.private_hosts) for at in (port, usual))

    def may_connect(self, host: str, port: int, addresses: Collection[str]) -> bool:
        """Whether all of ``addresses``, to which ``host`` leads, may be connected to."""
        is_own = self.is_private(host, port)
        return bool(addresses) and all(is_public(one) or (is_own and is_institutes(one)) for one in addresses)

    def _is_fit(self, target: Target) -> bool:
        if target.scheme != "https" and not self.plain_http:
            return False
        host, port = target.host, target.port
        if self.is_private(host, port):
            return True
        if self.hosts:
            return any(one.covers(host, port) for one in self.hosts) and _may_be_public(host)
        return port == _USUAL_PORTS[target.scheme] and _may_be_public(host)

    def is_private(self, host: str, port: int) -> bool:
        """Whether it is a server of one's own, as the settings say."""
        return any(one.covers(host, port) for one in self.private_hosts)


def is_public(address: str) -> bool:
    """Whether ``address`` is one of the public internet, and carries no other one in it."""
    found = _read(address)
    if found is None or found.is_multicast or found.is_reserved or not found.is_global:
        return False
    if isinstance(found, IPv6Address) and found not in _PUBLIC_IPV6:
        return False
    return not any(found in network for network in _NEVER_PUBLIC if network.version == found.version)


def is_institutes(address: str) -> bool:
    """Whether ``address`` is one that a server of one's own may have."""
    found = _read(address)
    return found is not None and any(found in network for network in _INSTITUTES if network.version == found.version)


def _read(address: str) -> IPv4Address | IPv6Address | None:
    try:
        return None if "%" in address else ip_address(address)
    except ValueError:
        return None


def parsed(url: str) -> Target | None:
    """What ``url`` says; None where it is no address of a server, or holds a user name or password."""
    try:
        read = httpx.URL(url[: MAX_CHARACTERS + 1])
        host = read.raw_host.decode("ascii").lower().removesuffix(".")
        read.raw_path.decode("ascii")
    except (httpx.InvalidURL, ValueError):
        return None
    if len(url) > MAX_CHARACTERS or read.scheme not in _USUAL_PORTS or read.userinfo:
        return None
    if _read(host) is None and (not _NAME.fullmatch(host) or _NUMBER.fullmatch(host.rpartition(".")[2])):
        return None  # the second: 2130706433, 0177.0.0.1 and 127.1 are other ways to write 127.0.0.1
    port = read.port or _USUAL_PORTS[read.scheme]
    return Target(str(read.copy_with(fragment=None)), read.scheme, host, port, read.raw_path)


def _may_be_public(host: str) -> bool:
    if _read(host) is not None:
        return is_public(host)
    return "." in host and not host.endswith(_LOCAL_ENDINGS)
