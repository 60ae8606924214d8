"""Fetching files over http(s) for somebody who names a URL: bounded in bytes, time and kind, and in where it leads.

Every connection is made to an address that was checked (`diffatlas.address`), every redirect is checked
as the first address was, and no proxy, cookie or password of this machine is used.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO
from urllib.parse import SplitResult, urljoin, urlunsplit

from diffatlas.address import Place, read_url, refused, resolve
from diffatlas.errors import BackendFailure, InvalidParams
from diffatlas.files import bytes_words
from diffatlas.stopping import look

MOST_REDIRECTS = 5
#: Seconds without a byte, and in all.
SILENCE, MOST_SECONDS = 15.0, 600.0
_PIECE = 1 << 16
_ANY = ("application/octet-stream", "binary/octet-stream")
#: What a server may say that a file is, by the ending of its name; where it says nothing, the content decides.
TYPES = {
    ".json": ("application/json", "text/json", "text/plain", *_ANY),
    ".png": ("image/png", *_ANY),
    ".zip": (
        "application/zip",
        "application/x-zip-compressed",
        "application/x-zip",
        "multipart/x-zip",
        *_ANY,
    ),
    ".npz": ("application/zip", "application/x-npz", "application/x-numpy-data", *_ANY),
    ".bin": ("application/x-binary", "application/macbinary", *_ANY),
}


class Absent(InvalidParams):
    """The server says that there is no such file."""


class Fetching:
    """What is fetched for one import: the bytes that are left, the end of its time, and a connection that is kept.

    own: whether the asker owns this machine, so that a server of theirs may be reached (`address.resolve`). Use as a
    context manager.
    """

    def __init__(
        self,
        own: bool,
        most_bytes: int,
        most_seconds: float = MOST_SECONDS,
        silence: float = SILENCE,
    ) -> None:
        self.left = most_bytes
        self._most_bytes = most_bytes
        self._own = own
        self._silence = silence
        self._seconds = most_seconds
        self._end = time.monotonic() + most_seconds
        self._connection: tuple[tuple[str, str | None, int | None], http.client.HTTPConnection] | None = None

    def __enter__(self) -> Fetching:
        return self

    def __exit__(self, *_: object) -> None:
        self._drop()

    def save(self, url: str, path: Path, ending: str, most: int | None = None) -> str:
        """Fetch a file to ``path``, and return the address that it was found at after redirects.

        ending: of its name, for the kinds that it may be of (`TYPES`). most: bytes, where less than all that is left.
        Raises `Absent` where there is none, `InvalidParams` with a sentence for all else that goes wrong.
        """
        most = self.left if most is None else min(most, self.left)
        with self._answer(url, ending) as (answer, found):
            length = answer.length
            if length is not None and length > most:
                raise self._too_large(found, most)
            taken = 0
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as file:
                while piece := answer.read1(_PIECE):
                    look()
                    taken += len(piece)
                    if taken > most:
                        raise self._too_large(found, most)
                    _write(file, piece)
            if time.monotonic() >= self._end:
                raise self._too_slow(found)
            if length is not None and taken < length:
                raise refused(
                    found, f"it broke off after {bytes_words(taken)} of {bytes_words(length)}", "try again"
                )
            self.left -= taken
            return found

    @contextmanager
    def _answer(self, url: str, ending: str) -> Iterator[tuple[http.client.HTTPResponse, str]]:
        """Ask for a file, through redirects, and give the answer with its address; what breaks off is told."""
        first = parts = read_url(url)
        watch: threading.Timer | None = None
        try:
            for _ in range(MOST_REDIRECTS + 1):
                look()
                kept = self._is_kept(parts)
                try:
                    answer, watch = self._ask(parts, first)
                except (http.client.RemoteDisconnected, ConnectionError):
                    # A connection that was kept may have been given up at the other end.
                    if not kept:
                        raise
                    self._drop()
                    answer, watch = self._ask(parts, first)
                if answer.status not in (301, 302, 303, 307, 308):
                    found = urlunsplit(parts)
                    self._check(answer, found, ending)
                    yield answer, found
                    if answer.length == 0:
                        answer.close()  # and the connection stays
                    elif not answer.isclosed():
                        self._drop()
                    return
                watch.cancel()
                self._drop()
                parts = self._next(parts, answer.headers.get("Location"))
            raise refused(
                url, f"it is redirected more than {MOST_REDIRECTS} times", "give the address it ends at"
            )
        except InvalidParams:
            self._drop()
            raise
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._drop()
            raise self._broken(urlunsplit(parts), error) from error
        except BaseException:
            self._drop()
            raise
        finally:
            if watch is not None:
                watch.cancel()

    def _ask(
        self, parts: SplitResult, first: SplitResult
    ) -> tuple[http.client.HTTPResponse, threading.Timer]:
        """Return an answer, and what ends it where it takes too long; to be cancelled when it has been read."""
        connection = self._connect(parts, first)
        # Silence is bounded by the socket; a server that sends a byte now and then, by this.
        watch = threading.Timer(max(self._end - time.monotonic(), 0.0), _cut, [connection.sock])
        watch.daemon = True
        watch.start()
        try:
            target = urlunsplit(("", "", parts.path or "/", parts.query, ""))
            connection.request(
                "GET", target, headers={"Accept-Encoding": "identity", "User-Agent": "diffatlas"}
            )
            return connection.getresponse(), watch
        except BaseException:
            watch.cancel()
            raise

    def _is_kept(self, parts: SplitResult) -> bool:
        """Whether there is an open connection to where a URL leads."""
        return (
            self._connection is not None
            and self._connection[0] == _host(parts)
            and self._connection[1].sock is not None
        )

    def _next(self, parts: SplitResult, location: str | None) -> SplitResult:
        if not location:
            raise refused(urlunsplit(parts), "it is redirected to nowhere", "give another address")
        try:
            return read_url(urljoin(urlunsplit(parts), location))
        except InvalidParams:
            raise
        except ValueError:
            raise refused(
                urlunsplit(parts), "it is redirected to what is no proper address", "give another address"
            ) from None

    def _connect(self, parts: SplitResult, first: SplitResult) -> http.client.HTTPConnection:
        """Return a connection to a checked address; that of the file before where it is the same host."""
        if self._connection is not None and self._is_kept(parts):
            return self._connection[1]
        self._drop()
        # A server of one's own is reached where it was named, and never because another one sends there.
        place = resolve(parts, self._own and parts.hostname == first.hostname)
        connection = http.client.HTTPConnection(place.host, place.port, timeout=self._silence)
        connection.sock = self._open(place)
        # What is closed is opened by us alone, with the check.
        connection.auto_open = 0
        self._connection = _host(parts), connection
        return connection

    def _open(self, place: Place) -> socket.socket:
        """Return a socket that is connected to one of a place's addresses, the first that takes it."""
        problem: OSError | None = None
        for family, target in place.targets:
            plain = socket.socket(family, socket.SOCK_STREAM)
            try:
                plain.settimeout(max(min(self._silence, self._end - time.monotonic()), 0.001))
                plain.connect(target)
                if not place.secure:
                    return plain
                return ssl.create_default_context().wrap_socket(plain, server_hostname=place.host)
            except OSError as error:
                plain.close()
                problem = error
        raise problem or OSError("no address")

    def _check(self, answer: http.client.HTTPResponse, url: str, ending: str) -> None:
        if answer.status in (404, 410):
            raise Absent(
                refused(url, "there is nothing at it", "look whether it is spelled right").message,
                field="source",
            )
        if answer.status != 200:
            raise refused(
                url,
                f"the server answers {answer.status} {answer.reason[:60]}",
                "open it in a browser to see why",
            )
        if answer.headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity"):
            raise refused(
                url, "the server sends it packed in a way that was not asked for", "give another address"
            )
        kind = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind and kind not in TYPES.get(ending, _ANY):
            called = "a web page" if kind == "text/html" else kind[:60]
            raise refused(url, f"it is {called}, not a {ending} file", "give the address of the file itself")

    def _too_large(self, url: str, most: int) -> InvalidParams:
        said = bytes_words(most)
        total = f" (of {bytes_words(self._most_bytes)} for all files)" if most < self._most_bytes else ""
        return refused(url, f"it is larger than the {said} that it may be{total}", "take a smaller run")

    def _too_slow(self, url: str) -> InvalidParams:
        return refused(
            url, f"it took more than {self._seconds:g} seconds", "download it, and import the file"
        )

    def _broken(self, url: str, error: Exception) -> InvalidParams:
        if time.monotonic() >= self._end:
            return self._too_slow(url)
        if isinstance(error, TimeoutError):
            return refused(url, f"the server was silent for {self._silence:g} seconds", "try again later")
        if isinstance(error, ssl.SSLError):
            reason = getattr(error, "verify_message", "") or error.reason or "TLS"
            return refused(url, f"its certificate is not accepted ({reason})", "give another address")
        if isinstance(error, http.client.IncompleteRead | http.client.RemoteDisconnected):
            return refused(url, "the connection broke off", "try again")
        if isinstance(error, http.client.HTTPException | ValueError):
            return refused(url, "the server does not answer as a web server does", "give another address")
        return refused(
            url, f"it cannot be reached ({error.strerror or error})", "look whether the server runs"
        )

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection[1].close()
            self._connection = None


def _host(parts: SplitResult) -> tuple[str, str | None, int | None]:
    return parts.scheme.lower(), parts.hostname, parts.port


def _write(file: BinaryIO, piece: bytes) -> None:
    try:
        file.write(piece)
    except OSError as error:
        raise BackendFailure(
            f"What is fetched cannot be kept ({error.strerror or error}): free some space on the disk."
        ) from error


def _cut(sock: socket.socket | None) -> None:
    """End what waits for a socket."""
    with suppress(OSError, AttributeError):
        sock.shutdown(socket.SHUT_RDWR)
