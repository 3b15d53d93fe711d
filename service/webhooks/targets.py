"""Where webhooks may go: only to origins that the operator has listed, and never into private networks by name.

An entry is an origin: `https://hooks.example.com`, `https://*.example.com` (its subdomains), `http://10.0.0.7:9000`. A
name must lead to public addresses alone; a private address is reached only when it stands in the list itself.
"""

import asyncio
import ipaddress
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

HOST = re.compile(r"(?:\*\.)?[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?|\[[0-9a-f:.]{2,45}\]")
MAX_URL = 2000
PORTS = {"https": 443, "http": 80}
TRANSLATED = tuple(map(ipaddress.ip_network, ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32")))
"""IPv6 addresses that hide an IPv4 one."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class TargetRefused(ValueError):
    """Nothing is sent there; the message says why."""


@dataclass(frozen=True, slots=True)
class Origin:
    scheme: str
    host: str
    port: int

    def covers(self, other: "Origin") -> bool:
        if (self.scheme, self.port) != (other.scheme, other.port):
            return False
        if self.host.startswith("*."):
            return other.host.endswith(self.host[1:]) and literal(other.host) is None
        return self.host == other.host


@dataclass(frozen=True, slots=True)
class Target:
    """A URL and the address that its host stood for when it was looked up: the one to connect to."""

    url: SplitResult
    address: str

    @property
    def pinned_url(self) -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address
        origin = origin_of(self.url)
        return self.url._replace(netloc=f"{host}:{origin.port}").geturl()


def origin_of(url: SplitResult) -> Origin:
    """Raises TargetRefused for all but plain http and https URLs."""
    host = url.hostname or ""
    shown = f"[{host}]" if ":" in host else host
    try:
        port = url.port
    except ValueError:
        raise TargetRefused("has a malformed port") from None
    if url.scheme not in PORTS or HOST.fullmatch(shown) is None or "@" in url.netloc or url.fragment:
        raise TargetRefused("must be a plain https URL")
    return Origin(url.scheme, host, port or PORTS[url.scheme])


def parse_allow_list(entries: Iterable[str]) -> tuple[Origin, ...]:
    """Raises ValueError naming the entry that is no origin."""
    origins = []
    for entry in entries:
        try:
            url = urlsplit(entry.strip().lower())
            if url.path not in ("", "/") or url.query:
                raise TargetRefused("must have no path")
            origins.append(origin_of(url))
        except ValueError as error:
            raise ValueError(f"{entry!r} {error}; an entry is such as https://hooks.example.com") from None
    return tuple(origins)


def check_url(text: str, allowed: Iterable[Origin]) -> SplitResult:
    """The URL, when the list has its origin. Raises TargetRefused."""
    if len(text) > MAX_URL or not text.isascii() or not text.isprintable() or "\\" in text or " " in text:
        raise TargetRefused(f"must be a URL of {MAX_URL} ASCII characters at most")
    try:
        url = urlsplit(text)
    except ValueError:
        raise TargetRefused("must be a URL") from None
    origin = origin_of(url)
    if not any(entry.covers(origin) for entry in allowed):
        raise TargetRefused("is not one of the origins that the operator of this service allows")
    return url


async def look_up(text: str, allowed: Iterable[Origin]) -> Target:
    """Checks the URL and looks its host up, anew for each delivery. Raises TargetRefused."""
    url = check_url(text, allowed)
    origin = origin_of(url)
    if literal(origin.host) is not None:
        return Target(url, origin.host)
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM)
    except OSError:
        raise TargetRefused("has a host that cannot be found") from None
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    if not addresses or not all(is_public(ipaddress.ip_address(address.partition("%")[0])) for address in addresses):
        raise TargetRefused("has a host that leads into a private network")
    return Target(url, addresses[0])


def literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def is_public(address: Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        if any(address in network for network in TRANSLATED):
            return False
    return address.is_global and not address.is_multicast
