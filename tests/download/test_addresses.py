"""Addresses that are never asked, whatever stands behind them."""

from __future__ import annotations

import socket

import pytest

from alexnet_fast.download.download import is_address, is_public, parse_address, resolve
from alexnet_fast.errors import UserError

FORBIDDEN = {
    "http://example.org/a.zip": "is not https",
    "ftp://example.org/a.zip": "is not https",
    "file:///etc/passwd": "is not https",
    "data:application/zip;base64,UEsDBA==": "is not https",
    "gopher://example.org/": "is not https",
    "https://user:secret@example.org/a.zip": "holds a user name or password",
    "https:///a.zip": "names no host",
    "https://example.org:0/a.zip": "names no host",
    "https://example.org:99999/a.zip": "is no address",
    "https://example.org/a b.zip": "is no address; write a space as %20",
    "https://example.org/a\r\nHost: other": "is no address",
    "https://example.org\\@other.org/": "is no address",
    "https://[::1/a.zip": "is no address",
    "https://a..b/a.zip": "is no address",
}

PRIVATE = [
    "localhost",
    "127.0.0.1",
    "127.1",
    "2130706433",
    "0x7f000001",
    "0.0.0.0",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "169.254.169.254",
    "224.0.0.1",
    "255.255.255.255",
    "[::1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:169.254.169.254]",
    "[fd00::1]",
    "[fe80::1]",
    "[ff02::1]",
    "[64:ff9b::a9fe:a9fe]",
    "[2002:7f00:1::]",
]


@pytest.mark.parametrize("url", FORBIDDEN)
def test_addresses_that_are_forbidden_without_asking_anybody(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: pytest.fail("the network was asked"))
    with pytest.raises(UserError, match=FORBIDDEN[url]) as refused:
        parse_address(url)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("host", PRIVATE)
def test_hosts_that_are_not_on_the_public_internet(host: str) -> None:
    address = parse_address(f"https://{host}/a.zip")
    with pytest.raises(UserError, match="is not on the public internet; give --allow-private|no such host"):
        resolve(address, allow_private=False)


def test_a_public_name_that_leads_to_a_private_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """One private address among several is enough: the next question could be answered with that alone."""
    entries = [(0, 0, 0, "", (ip, 443)) for ip in ("93.184.216.34", "169.254.169.254")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: entries)
    address = parse_address("https://example.org/a.zip")
    with pytest.raises(UserError, match="example.org is 169.254.169.254"):
        resolve(address, allow_private=False)
    assert resolve(address, allow_private=True) == ["93.184.216.34", "169.254.169.254"]


@pytest.mark.parametrize(
    "ip", ["93.184.216.34", "2606:2800:220:1::1", "64:ff9b::5db8:d822", "::ffff:8.8.8.8"]
)
def test_addresses_of_the_public_internet(ip: str) -> None:
    assert is_public(ip)


def test_what_is_an_address_and_what_a_path() -> None:
    for text in (*FORBIDDEN, "HTTPS://example.org/", "svn+ssh://example.org/"):
        assert is_address(text), text
    for text in ("images", "a/b.zip", "./https:x", "C:/images", "a:b", "//server/share"):
        assert not is_address(text), text


def test_what_is_sent_is_ascii() -> None:
    address = parse_address("https://bücher.example/katzen/Größe%20a.zip?x=ä&y=1#part")
    assert (address.host, address.port) == ("xn--bcher-kva.example", 443)
    assert address.target == "/katzen/Gr%C3%B6%C3%9Fe%20a.zip?x=%C3%A4&y=1"
