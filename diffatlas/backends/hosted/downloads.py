"""Fetching a finished picture: without any key, only from public addresses, bounded in bytes, time and kind.

The address that is checked is the one that is connected to, at every connection, so that an answer of the DNS that
changes in between changes nothing.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import AsyncGenerator, Collection, Iterable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import SplitResult, unquote_to_bytes, urljoin, urlunsplit

import httpcore
import httpx

from diffatlas.address import read_url, resolve
from diffatlas.errors import BadDownload, InvalidParams, NetworkError, ProviderTimeout

MOST_BYTES = 40_000_000
MOST_SECONDS = 120.0
#: Seconds without a byte.
SILENCE = 20.0
MOST_REDIRECTS = 4
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
    except httpx.TimeoutException:
        raise ProviderTimeout("The picture stopped arriving: try again.") from None
    except InvalidParams as error:
        raise BadDownload(f"The provider's picture cannot be fetched: {error.message}") from None
    except (httpx.HTTPError, httpx.InvalidURL, OSError):
        raise NetworkError("The connection broke while the picture was fetched: try again.") from None


async def _fetch(url: str, own: Collection[tuple[str, int]], most_bytes: int) -> bytes:
    parts = _checked(url, own)
    for _ in range(MOST_REDIRECTS + 1):
        async with _client(own) as client, client.stream("GET", urlunsplit(parts)) as response:
            if response.status_code in (301, 302, 303, 307, 308):
                parts = _checked(urljoin(urlunsplit(parts), response.headers.get("location", "")), own)
                continue
            return await _read(response, most_bytes)
    raise BadDownload(f"The provider's picture is redirected more than {MOST_REDIRECTS} times.")


async def _read(response: httpx.Response, most_bytes: int) -> bytes:
    if response.status_code != 200:
        raise BadDownload(
            f"The provider's picture is not there ({response.status_code}): ask for it again soon, since pictures are "
            "kept for an hour or less."
        )
    kind = response.headers.get("content-type", "").lower()
    if kind and not kind.startswith(_KINDS):
        raise BadDownload(f"The provider's picture is no picture, but {kind[:60]!r}.")
    if response.headers.get("content-encoding", "identity") != "identity":
        raise BadDownload("The provider's picture comes in a packed form that was not asked for.")
    length = response.headers.get("content-length", "")
    if length.isdigit() and int(length) > most_bytes:
        raise _too_large(most_bytes)
    parts, size = [], 0
    async for part in response.aiter_raw():
        size += len(part)
        if size > most_bytes:
            raise _too_large(most_bytes)
        parts.append(part)
    content = b"".join(parts)
    if not kind.startswith("image/") and not content.startswith(_BEGIN):
        raise BadDownload("The provider's picture is no PNG, JPEG or WebP.")
    return content


def _checked(url: str, own: Collection[tuple[str, int]]) -> SplitResult:
    """Return the parts of a URL that may be fetched, as far as can be told before its host is looked up."""
    parts = read_url(url)
    if parts.scheme.lower() != "https" and (parts.hostname, parts.port or 80) not in own:
        raise BadDownload("The provider's picture is at an address without https: it is not fetched.")
    return parts


@asynccontextmanager
async def _client(own: Collection[tuple[str, int]]) -> AsyncGenerator[httpx.AsyncClient, None]:
    """Give a client without cookies, proxies or passwords, whose every connection is checked."""
    transport = httpx.AsyncHTTPTransport(trust_env=False)
    # httpx has no argument for it; the pool is what opens connections.
    transport._pool = httpcore.AsyncConnectionPool(
        ssl_context=httpx.create_ssl_context(trust_env=False), network_backend=_Checked(own)
    )
    async with httpx.AsyncClient(
        transport=transport,
        trust_env=False,
        follow_redirects=False,
        timeout=httpx.Timeout(SILENCE, connect=10.0),
        headers={"Accept": "image/*", "Accept-Encoding": "identity", "User-Agent": "diffatlas"},
    ) as client:
        yield client


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
        place = await asyncio.to_thread(resolve, parts, (host, port) in self._own)
        failure: Exception | None = None
        for _, target in place.targets:
            try:
                return await self._under.connect_tcp(
                    str(target[0]), port, timeout, local_address, socket_options
                )
            except httpcore.ConnectError as error:
                failure = error
        raise failure or httpcore.ConnectError(f"{host} has no address.")

    async def sleep(self, seconds: float) -> None:
        """Sleep."""
        await asyncio.sleep(seconds)


def _within(url: str, most_bytes: int) -> bytes:
    """Return the bytes of a ``data:`` URL (RFC 2397)."""
    head, comma, data = url.partition(",")
    if not comma or len(data) > 2 * most_bytes:
        raise BadDownload("The provider's picture is a data: address that cannot be read, or too large.")
    try:
        found = base64.b64decode(data, validate=True) if head.endswith(";base64") else unquote_to_bytes(data)
    except (binascii.Error, ValueError):
        raise BadDownload("The provider's picture is a data: address that cannot be read.") from None
    if len(found) > most_bytes:
        raise _too_large(most_bytes)
    return found


def _too_large(most_bytes: int) -> BadDownload:
    return BadDownload(
        f"The provider's picture is larger than {most_bytes // 1_000_000} MB: it is not taken."
    )
