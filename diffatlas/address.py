"""Which addresses of the network may be reached for somebody who asks for a URL.

A name is resolved once, and the very address that was looked at is the one that is connected to: an answer of the DNS
that changes in between changes nothing.
"""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit, urlunsplit

from diffatlas.errors import InvalidParams

Ip = ipaddress.IPv4Address | ipaddress.IPv6Address

MOST_LETTERS = 2000
#: What translates to addresses of IPv4, which are then what is really reached (RFC 6052).
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class Refused(InvalidParams):
    """An address that is not fetched from. ``what`` says why, without the address itself."""

    what = ""


class NoHost(Refused):
    """An address whose host is not found."""


@dataclass(frozen=True)
class Place:
    """A host and a port, and its addresses that were found to be fine: (family, what `socket.connect` takes)."""

    host: str
    port: int
    secure: bool
    targets: tuple[tuple[int, tuple[object, ...]], ...]


def is_url(source: str) -> bool:
    """Whether a source is meant as a URL, also as one of a kind that is not taken."""
    scheme, mark, _ = source.strip().partition("://")
    return bool(mark) and scheme.isascii() and scheme.replace("+", "").isalnum()


def read_url(text: str) -> SplitResult:
    """Return the parts of an http(s) URL. Raises `Refused` for any other, and for one with a name or password."""
    text = text.strip()
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise refused(text, "it is no proper address", "copy it again, from http:// or https:// on") from None
    if parts.scheme.lower() not in ("http", "https"):
        raise refused(text, "only http and https are fetched", "give an address that begins with https://")
    odd = any(not c.isprintable() or c.isspace() for c in text)
    if not host or odd or "\\" in text or len(text) > MOST_LETTERS:
        raise refused(text, "it is no proper address", "copy it again, from http:// or https:// on")
    if parts.username is not None or parts.password is not None:
        raise refused(
            _without_login(parts), "it holds a name or password", "give an address that needs neither"
        )
    return parts


def resolve(parts: SplitResult, own: bool) -> Place:
    """Return where a URL leads, with the addresses that its host has now.

    own: whether an address that is not public may be reached, of this machine or its network, where the URL says it
    as a number or as ``localhost``. Raises `Refused` where it may not, and `NoHost` where there is no such host.
    """
    url, host = urlunsplit(parts), parts.hostname or ""
    secure = parts.scheme.lower() == "https"
    port = parts.port or (443 if secure else 80)
    try:
        # An IPv6 address may name an interface, by which the same number is another machine.
        if "%" in host:
            raise OSError(host)
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise refused(
            url, f"there is no host {host[:80]}", "look whether it is spelled right", NoHost
        ) from None
    named = own and _is_number_or_localhost(host)
    # All of them: one that may be reached is no leave for the others.
    for *_, target in found:
        ip = ipaddress.ip_address(str(target[0]).partition("%")[0])
        if not is_public(ip) and not (named and _is_own(ip)):
            shown = f"{ip} is" if host.strip("[]") == str(ip) else f"{host[:80]} is {ip},"
            advice = (
                "write it as a number, or as localhost, where it is a server of your own"
                if own and not named
                else "give one that everybody can reach"
            )
            where = f"{shown} no address of the public network"
            raise refused(url, where, advice)
    return Place(host, port, secure, tuple((family, target) for family, *_, target in found))


def is_public(ip: Ip) -> bool:
    """Whether an address belongs to one machine of the public network; of one that stands for another, that one."""
    inner = _inner(ip)
    if inner is not None:
        return is_public(inner)
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified or ip.is_link_local)


def refused(url: str, what: str, advice: str, kind: type[Refused] = Refused) -> Refused:
    """Return the error that says of an address what is wrong, and what to do."""
    shown = url if len(url) <= 120 else f"{url[:80]}…{url[-30:]}"
    printable = "".join(c if c.isprintable() else "?" for c in shown)
    error = kind(f"{printable} cannot be fetched: {what}; {advice}.", field="source")
    error.what = what
    return error


def _is_own(ip: Ip) -> bool:
    """Of this machine, or of a network that is somebody's own; never where a cloud keeps its machines' secrets."""
    inner = _inner(ip)
    if inner is not None:
        return _is_own(inner)
    # The number of this machine in IPv6 lies among those that are kept for later.
    return ip.is_loopback or not (
        ip.is_link_local or ip.is_multicast or ip.is_reserved or ip.is_unspecified or ip.is_global
    )


def _inner(ip: Ip) -> ipaddress.IPv4Address | None:
    """Return the address of IPv4 that one of IPv6 stands for, where it does."""
    if isinstance(ip, ipaddress.IPv4Address):
        return None
    if ip in _NAT64:
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour


def _is_number_or_localhost(host: str) -> bool:
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _without_login(parts: SplitResult) -> str:
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
