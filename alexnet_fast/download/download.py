"""A file from an https address, with a limit on its size."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import http.client
import ipaddress
import re
import shutil
import socket
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import quote, urljoin, urlsplit

from alexnet_fast.errors import UserError
from alexnet_fast.utils.atomic import disk_errors
from alexnet_fast.utils.cache_dir import ROOM
from alexnet_fast.version import __version__

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
            UserError: The URL may not be fetched.
        """
        return parse_address(urljoin(self.url, location))


def is_address(text: str) -> bool:
    """Returns whether a text is a URL and not a path, by its scheme."""
    return _SCHEME.match(text) is not None


def parse_address(url: str) -> Address:
    """Checks a URL; nothing is asked of the network.

    Raises:
        UserError: The URL may not be fetched.
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
    """Returns whether an IP address belongs to the public internet, whatever it is wrapped in."""
    ip: _IP = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if ip in _NAT64:
            return is_public(str(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)))
        inner = [ip.ipv4_mapped, ip.sixtofour, *(ip.teredo or ())]
        if any(inner):
            return all(is_public(str(part)) for part in inner if part)
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified)


_SECONDS = 30.0
_CHUNK = 1 << 20
_REDIRECTS = 5
_MOVED = (301, 302, 303, 307, 308)
# X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED, https://docs.openssl.org/3.0/man3/X509_STORE_CTX_get_error/
_OF_ANOTHER_TIME = (9, 10)

OnProgress = Callable[[int, int | None], None]


class _Connection(http.client.HTTPSConnection):
    """A connection to IP addresses that were checked, under the host's name and certificate."""

    def __init__(self, address: Address, ips: Sequence[str]) -> None:
        self._tls, self._ips = ssl.create_default_context(), ips
        super().__init__(address.host, address.port, timeout=_SECONDS, context=self._tls)

    def connect(self) -> None:
        """Connects to the first address that answers."""
        for last, ip in enumerate(self._ips, 1 - len(self._ips)):
            try:
                plain = socket.create_connection((ip, self.port), timeout=_SECONDS)
                break
            except OSError:
                if last == 0:
                    raise
        self.sock = self._tls.wrap_socket(plain, server_hostname=self.host)


def download(
    address: Address, file: Path, *, limit: int, allow_private: bool, on_progress: OnProgress
) -> str:
    """Downloads a file, following a few redirects; each address is checked like the first.

    Args:
        address: Where from.
        file: Where to; it must not be there.
        limit: Maximum bytes.
        allow_private: As for `address.resolve`.
        on_progress: Receives the bytes that are there, and how many there will be, where that is known.

    Returns:
        The SHA-256 of the content, in hexadecimal digits.

    Raises:
        UserError: The file is unavailable, forbidden or too large.
    """
    for _ in range(_REDIRECTS + 1):
        connection = _Connection(address, resolve(address, allow_private=allow_private))
        try:
            response = _ask(connection, address)
            if response.status in _MOVED:
                address = address.follow(response.headers.get("Location", ""))
                continue
            return _save(response, address, file, limit, on_progress)
        except ssl.SSLCertVerificationError as error:
            raise _distrusted(address, error) from error
        except (OSError, http.client.HTTPException) as error:
            said = (error.strerror if isinstance(error, OSError) else None) or str(error)
            raise UserError(
                f"cannot fetch {address.url}: {said.lower() or type(error).__name__}", "try again"
            ) from error
        finally:
            connection.close()
    raise UserError(f"{address.url} redirects more than {_REDIRECTS} times", "give the last address")


def _ask(connection: _Connection, address: Address) -> http.client.HTTPResponse:
    """Sends the request.

    Raises:
        UserError: The answer is neither the file nor a redirect.
    """
    headers = {"User-Agent": f"alexnet-fast/{__version__}", "Accept-Encoding": "identity"}
    connection.request("GET", address.target, headers=headers)
    response = connection.getresponse()
    if response.status != 200 and response.status not in _MOVED:
        raise UserError(f"{address.url} answers {response.status} {response.reason}", "check the address")
    return response


def _save(
    response: http.client.HTTPResponse, address: Address, file: Path, limit: int, on_progress: OnProgress
) -> str:
    """Writes the body to a file.

    Raises:
        UserError: The body is too large, or ends early.
    """
    length = response.length
    free = shutil.disk_usage(file.parent).free
    if length is not None and length > limit:
        raise _too_large(address, f"{length:,} bytes", limit)
    if length is not None and length > free:
        raise UserError(
            f"{address.url} has {length:,} bytes, and {file.parent} has room for {free:,}",
            ROOM,
        )
    digest, done = hashlib.sha256(), 0
    with disk_errors(file, ROOM), file.open("xb") as out:
        while chunk := response.read(_CHUNK):
            done += len(chunk)
            if done > limit:
                raise _too_large(address, "more bytes", limit)
            digest.update(chunk)
            out.write(chunk)
            on_progress(done, length)
    if length is not None and done < length:
        raise UserError(f"{address.url} ended after {done:,} of {length:,} bytes", "try again")
    return digest.hexdigest()


def _distrusted(address: Address, error: ssl.SSLCertVerificationError) -> UserError:
    """Returns the error for a certificate that is not trusted."""
    now = datetime.datetime.now(datetime.timezone.utc)
    return UserError(
        f"the certificate of {address.host} is not trusted ({error.verify_message})",
        f"is this machine's clock right? It says {now:%Y-%m-%d %H:%M} UTC"
        if error.verify_code in _OF_ANOTHER_TIME
        else "SSL_CERT_FILE names a file of certificates that you trust",
    )


def _too_large(address: Address, what: str, limit: int) -> UserError:
    """Returns the error for a file beyond the limit."""
    return UserError(
        f"{address.url} has {what}, the limit is {limit:,}", "give a larger --max-download if you trust it"
    )
