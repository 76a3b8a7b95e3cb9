"""Which addresses may be fetched: https, without credentials, on the public internet.

A data set's address is often somebody else's text. It must not become a way to read what only this machine
can reach: files, services on its own network, a cloud's metadata service (CWE-918,
https://cwe.mitre.org/data/definitions/918.html).
"""

from __future__ import annotations

import dataclasses
import ipaddress
import re
import socket
from urllib.parse import quote, urljoin, urlsplit

from alexnet_fast.errors import UserError

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://|(data|file):", re.IGNORECASE)

_IP = ipaddress.IPv4Address | ipaddress.IPv6Address

# IPv6 addresses that a translator turns into the IPv4 address in their last 32 bits (RFC 6052).
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


@dataclasses.dataclass(frozen=True)
class Address:
    """A checked https URL.

    Args:
        url: As it was given.
        host: Its name, or an address, as a certificate has it.
        port: 1 to 65535.
        target: Path and query, in ASCII.
    """

    url: str
    host: str
    port: int
    target: str

    def follow(self, location: str) -> Address:
        """Returns where a redirect leads.

        Raises:
            UserError: It may not be fetched.
        """
        return parse_address(urljoin(self.url, location))


def is_address(text: str) -> bool:
    """Tells a URL from a path, by its scheme."""
    return _SCHEME.match(text) is not None


def parse_address(url: str) -> Address:
    """Checks a URL; nothing is asked of the network.

    Raises:
        UserError: It may not be fetched.
    """
    if not url.isprintable() or any(mark in url for mark in " \\"):
        raise UserError(f"{url!r} is no address", "write a space as %20", exit_code=2)
    try:
        parts = urlsplit(url)
        port = 443 if parts.port is None else parts.port
        host = (parts.hostname or "").encode("idna").decode("ascii")
    except ValueError as error:
        raise UserError(f"{url} is no address ({error})", "check it", exit_code=2) from error
    if parts.scheme != "https":
        raise UserError(f"{url} is not https", "only https:// addresses are fetched", exit_code=2)
    if parts.username is not None or parts.password is not None:
        raise UserError(
            f"an address on {host} holds a user name or password", "they would be seen in logs", exit_code=2
        )
    if not host or port < 1:
        raise UserError(f"{url} names no host", "it is https://HOST/PATH", exit_code=2)
    # What is quoted already stays so.
    target = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    query = f"?{quote(parts.query, safe='/%:@!$&()*+,;=?~-._')}" if parts.query else ""
    return Address(url, host, port, target + query)


def resolve(address: Address, *, allow_private: bool) -> list[str]:
    """Returns the IP addresses of a host; the connection is made to one of them: no later answer counts.

    Args:
        address: Whose.
        allow_private: Whether they may be of this machine or of its network.

    Raises:
        UserError: There is none, or one may not be asked.
    """
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise UserError(f"no such host: {address.host}", "check the address, and the network") from error
    texts = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    private = [text for text in texts if not is_public(text)]
    if private and not allow_private:
        raise UserError(
            f"{address.host} is {private[0]}, an address that is not on the public internet",
            "give --allow-private if you mean it",
            exit_code=2,
        )
    return texts


def is_public(text: str) -> bool:
    """Tells whether an IP address belongs to the public internet, whatever it is wrapped in."""
    ip: _IP = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if ip in _NAT64:
            return is_public(str(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)))
        inner = [ip.ipv4_mapped, ip.sixtofour, *(ip.teredo or ())]
        if any(inner):
            return all(is_public(str(part)) for part in inner if part)
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified)
