"""Fetching a finished picture: without any key, only from public addresses, bounded in bytes, time and kind.

The address that is checked is the one that is connected to, at every connection, so that an answer of the DNS that
changes in between changes nothing.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Collection, Iterable
from functools import cache
from ssl import SSLContext
from typing import Any
from urllib.parse import SplitResult, unquote_to_bytes, urljoin, urlunsplit

import anyio.to_thread
import httpcore
import httpx

from diffatlas.address import NoHost, Refused, read_url, resolve
from diffatlas.errors import BadDownload, NetworkError, ProviderTimeout

MOST_BYTES = 40_000_000
MOST_SECONDS = 120.0
#: Seconds without a byte, and until there is a connection.
SILENCE, CONNECT_SECONDS = 20.0, 10.0
#: Seconds for each address of a host but its last.
NEXT_SECONDS = 2.0
MOST_REDIRECTS = 4
_TIMEOUTS = {"connect": CONNECT_SECONDS, "read": SILENCE, "write": SILENCE, "pool": SILENCE}
_HEADERS = {
    "Accept": "image/*",
    "Accept-Encoding": "identity",
    "Connection": "close",
    "User-Agent": "diffatlas",
}
#: What a server may say that a picture is.
_KINDS = ("image/", "application/octet-stream", "binary/octet-stream")
#: How PNG, JPEG and WebP begin, for a server that does not say what it sends.
_BEGIN = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF")


async def download(
    url: str,
    *,
    own: Collection[tuple[str, int]] = (),
    most_bytes: int = MOST_BYTES,
    seconds: float = MOST_SECONDS,
) -> bytes:
    """Return the file at a URL, or in a ``data:`` URL.

    own: hosts and ports that may be reached although they are not public, and without https: those that the host of
        this installation has named as a provider's.
    most_bytes, seconds: of all of it, redirects included.

    Raises `BadDownload` for an address that is not fetched from and for a file that is too large or no picture,
    `NetworkError` where the connection breaks, `ProviderTimeout` where it takes too long.
    """
    if url[:5].lower() == "data:":
        return _within(url, most_bytes)
    try:
        async with asyncio.timeout(seconds):
            return await _fetch(url, own, most_bytes)
    except TimeoutError:
        raise ProviderTimeout(f"The picture did not arrive in {seconds:g} s: try again.") from None
    except httpcore.TimeoutException:
        raise ProviderTimeout("The picture stopped arriving: try again.") from None
    except NoHost as error:
        raise NetworkError(f"The provider's picture cannot be reached: {error.what}; try again.") from None
    except Refused as error:
        raise BadDownload(
            f"The provider's picture is not fetched, because of its address: {error.what}."
        ) from None
    except (httpcore.NetworkError, httpcore.ProtocolError, OSError):
        raise NetworkError("The connection broke while the picture was fetched: try again.") from None


async def _fetch(url: str, own: Collection[tuple[str, int]], most_bytes: int) -> bytes:
    """Ask for a file, through redirects. Each hop has connections of its own, and nothing is kept for the next."""
    parts, target = _checked(url, own)
    for _ in range(MOST_REDIRECTS + 1):
        async with (
            httpcore.AsyncConnectionPool(ssl_context=_tls(), network_backend=_Checked(own)) as pool,
            pool.stream(
                "GET",
                httpcore.URL(
                    scheme=target.raw_scheme,
                    host=target.raw_host,
                    port=target.port,
                    target=target.raw_path,
                ),
                headers={"Host": target.netloc, **_HEADERS},
                extensions={"timeout": _TIMEOUTS},
            ) as response,
        ):
            headers = {name.decode("latin-1").lower(): v.decode("latin-1") for name, v in response.headers}
            if response.status not in (301, 302, 303, 307, 308):
                return await _read(response, headers, most_bytes)
            parts, target = _checked(_next(parts, headers.get("location", "")), own)
    raise BadDownload(f"The provider's picture is redirected more than {MOST_REDIRECTS} times.")


async def _read(response: httpcore.Response, headers: dict[str, str], most_bytes: int) -> bytes:
    if response.status != 200:
        raise BadDownload(
            f"The provider's picture is not there ({response.status}): ask for it again soon, since pictures are "
            "kept for an hour or less.",
            passing=True,
        )
    kind = headers.get("content-type", "").lower()
    if kind and not kind.startswith(_KINDS):
        raise BadDownload(f"The provider's picture is no picture, but {kind[:60]!r}.")
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise BadDownload("The provider's picture comes in a packed form that was not asked for.")
    length = headers.get("content-length", "")
    if length.isdigit() and int(length) > most_bytes:
        raise _too_large(most_bytes)
    pieces, size = [], 0
    async for piece in response.aiter_stream():
        size += len(piece)
        if size > most_bytes:
            raise _too_large(most_bytes)
        pieces.append(piece)
    content = b"".join(pieces)
    if not kind.startswith("image/") and not content.startswith(_BEGIN):
        raise BadDownload("The provider's picture is no PNG, JPEG or WebP.")
    return content


def _checked(url: str, own: Collection[tuple[str, int]]) -> tuple[SplitResult, httpx.URL]:
    """Return the parts of a URL, and the URL as it is sent, where it may be fetched as far as it alone can tell."""
    parts = read_url(url)
    if parts.scheme.lower() != "https" and (parts.hostname, parts.port or 80) not in own:
        raise BadDownload("The provider's picture is at an address without https: it is not fetched.")
    try:
        return parts, httpx.URL(urlunsplit(parts))
    except httpx.InvalidURL:
        raise _improper() from None


def _next(parts: SplitResult, location: str) -> str:
    """Return where a redirect leads."""
    try:
        return urljoin(urlunsplit(parts), location)
    except ValueError:
        raise _improper() from None


@cache
def _tls() -> SSLContext:
    """Return what certificates are checked with: those that come with Python's packages, not the environment's."""
    return httpx.create_ssl_context(trust_env=False)


class _Checked(httpcore.AsyncNetworkBackend):
    """Connects to the very addresses that were found to be fine."""

    def __init__(self, own: Collection[tuple[str, int]]) -> None:
        self._own = own
        self._under = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to a host at one of its addresses, each of which has to be public."""
        shown = f"[{host}]" if ":" in host else host
        parts = SplitResult("https", f"{shown}:{port}", "/", "", "")
        # Nobody waits for a slow DNS once the run was stopped or its time is over.
        place = await anyio.to_thread.run_sync(
            resolve, parts, (host, port) in self._own, abandon_on_cancel=True
        )
        failure: Exception | None = None
        for number, (_, target) in enumerate(place.targets, 1):
            # A network that says it knows IPv6 may yet swallow what is sent there.
            longest = timeout if number == len(place.targets) else NEXT_SECONDS
            try:
                return await self._under.connect_tcp(
                    str(target[0]), port, longest, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure or httpcore.ConnectError(f"{host} has no address.")

    async def sleep(self, seconds: float) -> None:
        """Sleep."""
        await asyncio.sleep(seconds)


def _within(url: str, most_bytes: int) -> bytes:
    """Return the bytes of a ``data:`` URL (RFC 2397)."""
    head, comma, data = url.partition(",")
    # A byte takes up to four letters: base64 whose every sign is written as %XX.
    if not comma or len(data) > 4 * most_bytes + 12:
        raise BadDownload("The provider's picture is a data: address that cannot be read, or too large.")
    found = unquote_to_bytes(data)
    try:
        if head.lower().endswith(";base64"):
            found = base64.b64decode(found, validate=True)
    except (binascii.Error, ValueError):
        raise BadDownload("The provider's picture is a data: address that cannot be read.") from None
    if len(found) > most_bytes:
        raise _too_large(most_bytes)
    return found


def _improper() -> BadDownload:
    return BadDownload("The provider's picture is not fetched, because its address is no proper one.")


def _too_large(most_bytes: int) -> BadDownload:
    return BadDownload(
        f"The provider's picture is larger than {most_bytes // 1_000_000} MB: it is not taken."
    )
