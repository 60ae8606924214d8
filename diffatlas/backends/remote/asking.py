"""Requests to another Atlas, and what its answers and silences amount to."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import httpx

from diffatlas.backends.hosted.refusals import read_json
from diffatlas.backends.remote.place import TOKEN_VARIABLE, Place
from diffatlas.backends.remote.protocol import (
    CLIENT_HEADER,
    PREFIX,
    PROTOCOL,
    VERSION_HEADER,
    error_from_plain,
)
from diffatlas.errors import (
    BackendFailure,
    CapabilityError,
    DiffAtlasError,
    HostedError,
    KeyRefused,
    NetworkError,
    ProviderDown,
    ProviderTimeout,
)

#: Bytes of an answer that is no event.
MOST_BYTES = 200_000_000


@dataclass(frozen=True)
class Patience:
    """How long another Atlas is waited for, in seconds."""

    connect: float = 10.0
    #: For an answer; what has to be read or hashed there comes before it.
    answer: float = 120.0
    #: From one sign of life of a run to the next.
    silent: float = 20.0
    #: From the loss of a connection until it is given up.
    lost: float = 60.0
    #: The wait before it is asked again; it doubles, with jitter, up to ``most``.
    first: float = 0.2
    most: float = 5.0
    #: From one word that the run is still wanted to the next.
    wanted: float = 5.0
    #: For the end of a run that was stopped.
    stopping: float = 15.0


class Asking:
    """Asks one Atlas. Safe to use from any thread; nothing is sent to another address."""

    def __init__(self, place: Place, patience: Patience) -> None:
        self.place = place
        self.patience = patience
        self._client = httpx.Client(**self.options(patience.answer))

    def options(self, silent: float) -> dict[str, Any]:
        """Return what a client of httpx is made with. ``silent``: seconds without a byte after which it gives up."""
        headers = {
            CLIENT_HEADER: _own_word(),
            "Accept-Encoding": "identity",
            "User-Agent": "diffatlas",
        }
        if self.place.token is not None:
            headers["Authorization"] = f"Bearer {self.place.token.get_secret_value()}"
        return {
            "base_url": self.place.url + PREFIX,
            "headers": headers,
            "timeout": httpx.Timeout(silent, connect=self.patience.connect),
            "follow_redirects": False,
            # No proxy or .netrc of the environment: they would see or change the token.
            "trust_env": False,
            # Certificates are read where there is something to check with them: that takes longer than a request.
            "verify": _certificates() if self.place.url.startswith("https:") else False,
        }

    def ask(self, method: str, path: str, body: bytes | None = None, plain: Any = None) -> bytes:
        """Make a request and return the body of its answer. ``plain``: a body of JSON instead of bytes.

        Raises the typed error that the answer, or its absence, amounts to.
        """
        try:
            with self._client.stream(method, path, content=body, json=plain) as response:
                content = b""
                for part in response.iter_raw():
                    content += part
                    if len(content) > MOST_BYTES:
                        raise HostedError(
                            f"{self._name} answers with more than {MOST_BYTES // 1_000_000} MB."
                        )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self.fault(error) from None
        if refusal := self.refusal(response.status_code, response.headers, content):
            raise refusal
        return content

    def ask_plain(self, method: str, path: str, body: bytes | None = None, plain: Any = None) -> Any:
        """Make a request and return the JSON of its answer, None where it holds none. Raises as `ask`."""
        return read_json(self.ask(method, path, body, plain))

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def fault(self, error: Exception) -> DiffAtlasError:
        """Return the typed error of a request that got no answer."""
        if isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout)):
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                return NetworkError(
                    f"{self._name} has no certificate that this machine trusts: it was not asked."
                )
            return NetworkError(
                f"Nothing answers at {self.place.url}: look whether an Atlas runs there (`diffatlas serve`), and "
                "whether address and port are right."
            )
        if isinstance(error, httpx.TimeoutException):
            return ProviderTimeout(f"{self._name} gave no answer in time: try again later.")
        return NetworkError(f"The connection to {self.place.called} broke: try again.")

    def refusal(self, status: int, headers: Mapping[str, str], content: bytes) -> DiffAtlasError | None:
        """Return the typed error of an answer, None for one that is as it should be."""
        version = headers.get(VERSION_HEADER)
        if version is None:
            return self._other(status)
        if version != str(PROTOCOL):
            return CapabilityError(
                f"{self._name} speaks version {version:.10} of the protocol and this one version {PROTOCOL}: install "
                "the same version of diffatlas at both ends."
            )
        if 200 <= status < 300:
            return None
        told = error_from_plain(read_json(content))
        if status != 401:
            return told or BackendFailure(f"{self._name} answered with the status {status}.")
        if self.place.token is None:
            said = told.message if told else "It asks for a token."
            return KeyRefused(
                f"{self._name} does not let this one in: {said} Yours goes into {TOKEN_VARIABLE}, or onto the page "
                "Settings."
            )
        return KeyRefused(
            f"{self._name} does not take this token: {TOKEN_VARIABLE} here has to be the DIFFATLAS_TOKEN there."
        )

    def unreadable(self) -> DiffAtlasError:
        """Return the error of an answer that nobody understands."""
        return HostedError(
            f"{self._name} answered what cannot be read: install the same version of diffatlas at both ends."
        )

    def _other(self, status: int) -> DiffAtlasError:
        """Return the error of an answer that comes from no Atlas."""
        if 300 <= status < 400:
            return HostedError(
                f"{self.place.url} points to another address, where the token is not sent: give that address instead."
            )
        if status in (502, 503, 504):
            return ProviderDown(
                f"Something before {self.place.called} cannot reach it (status {status}): look whether it runs."
            )
        return HostedError(
            f"What answers at {self.place.url} is no Atlas that can be asked (status {status}): look at the address, "
            "and whether a sign-in stands before it."
        )

    @property
    def _name(self) -> str:
        return self.place.called[0].upper() + self.place.called[1:]


@lru_cache(maxsize=1)
def _own_word() -> str:
    """Return a word at random that stands for this process."""
    return secrets.token_hex(8)


@lru_cache(maxsize=1)
def _certificates() -> Any:
    return httpx.create_ssl_context()
