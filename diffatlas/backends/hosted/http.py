"""Requests to a provider: its key, its limits, patience, and typed errors. One `Http` serves one run.

A request that cannot have been taken is made again; one that may have been taken and paid for is not.
"""

from __future__ import annotations

import asyncio
import json as jsons
import math
import random
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
import httpx
import tenacity
from pydantic import SecretStr

from diffatlas.backends.hosted.base import Provider
from diffatlas.backends.hosted.refusals import error_of, read_json, seconds_to_wait, words_of
from diffatlas.errors import (
    DiffAtlasError,
    HostedError,
    NetworkError,
    ProviderDown,
    ProviderTimeout,
    RateLimited,
)

#: Bytes of an answer: pictures may be in it, as base64.
MOST_BYTES = 64_000_000
CONNECT_SECONDS = 10.0

#: Tells what is waited for, and the seconds that are left where they are known.
Tell = Callable[[str, float | None], None]
#: Returns the typed error of an answer that its status does not tell, or None (`Adapter.refusal`).
Refusal = Callable[[int, str, Any], DiffAtlasError | None]


@dataclass(frozen=True)
class Patience:
    """How long a provider is waited for, in seconds, and how often it is asked."""

    #: For an answer to one request, from its last byte to the next.
    answer: float = 120.0
    #: For the image, from the first request on.
    image: float = 900.0
    #: Times that a request is made which cannot have been taken.
    attempts: int = 5
    #: The wait before the second attempt where the provider names none; it doubles, with jitter, up to `most`.
    first: float = 1.0
    most: float = 30.0
    #: The longest wait that is granted where the provider names one.
    asked: float = 300.0
    #: From one look at a request that is under way to the next: the first wait, and the longest that it grows to.
    look: float = 0.2
    look_most: float = 3.0


@dataclass(frozen=True)
class Answer:
    """What a provider answered. Names of headers are in small letters."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    def json(self) -> Any:
        """Return the JSON of it, or None where it holds none."""
        return read_json(self.content)


class Failure(Exception):
    """A request that failed: the typed error, whether it may have been taken, and what a next attempt waits for."""

    def __init__(
        self, error: DiffAtlasError, *, taken: bool, again: bool, seconds: float | None = None
    ) -> None:
        super().__init__(error.message)
        self.error = error
        #: Whether the provider may have taken the request.
        self.taken = taken
        #: Whether another attempt may help.
        self.again = again
        self.seconds = seconds


class MaybeTaken(Exception):
    """A paid request failed that the provider may have taken all the same. ``error`` is the typed error."""

    def __init__(self, error: DiffAtlasError) -> None:
        super().__init__(error.message)
        self.error = error


class Http:
    """Makes requests to one provider. Use it as an async context, in one event loop.

    provider: its facts; the key is sent to the hosts that they name, and to no other.
    refusal: what reads answers that their status does not tell (`Adapter.refusal`).
    tell: told once a second what is waited for.
    """

    def __init__(
        self,
        provider: Provider,
        key: SecretStr,
        refusal: Refusal,
        tell: Tell,
        patience: Patience | None = None,
    ) -> None:
        self.provider = provider
        self.patience = patience or Patience()
        self._key = key
        self._refusal = refusal
        self._tell = tell
        self._hosts = {urlsplit(provider.url).netloc, *provider.hosts}
        self._known: set[str] = set()
        # No proxy, .netrc or certificate of the environment: they would see or change the key.
        self._client = httpx.AsyncClient(
            follow_redirects=False,
            trust_env=False,
            timeout=httpx.Timeout(self.patience.answer, connect=min(CONNECT_SECONDS, self.patience.answer)),
        )

    async def __aenter__(self) -> Http:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def get(self, path: str, *, headers: Mapping[str, str] | None = None) -> Answer:
        """Ask for something that costs nothing, as often as `Patience` allows. Raises as `request`."""
        return await self.request("GET", path, headers=headers)

    async def post(
        self,
        path: str,
        *,
        json: Any = None,
        data: Mapping[str, str] | None = None,
        files: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        paid: bool = False,
    ) -> Answer:
        """Send JSON or the fields of a form. Raises as `request`."""
        return await self.request("POST", path, json=json, data=data, files=files, headers=headers, paid=paid)

    async def put(self, path: str, *, headers: Mapping[str, str] | None = None) -> Answer:
        """Put an empty body. Raises as `request`."""
        return await self.request("PUT", path, headers=headers)

    async def request(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        data: Mapping[str, str] | None = None,
        files: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        paid: bool = False,
    ) -> Answer:
        """Make a request and return its answer, of a status from 200 to 299.

        path: from the provider's address on, or a whole URL on one of its hosts.
        paid: whether what is asked for costs something: it is then made again only where it cannot have been taken.

        Raises the `HostedError` of the last attempt, `CapabilityError` or `UnknownModel` for what the provider cannot
        do, and `MaybeTaken` where a paid request may have been taken.
        """
        url = path if "://" in path else self.provider.url + path
        if urlsplit(url).netloc not in self._hosts:
            raise HostedError(
                f"{self.provider.label} names an address that is not its own: nothing is sent there."
            )
        body: dict[str, Any] = {"content": None}
        if json is not None:
            body = {"content": jsons.dumps(json, allow_nan=False).encode()}
            headers = {"Content-Type": "application/json", **(headers or {})}
        elif data is not None or files is not None:
            body = {"data": data, "files": files}
        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(lambda e: isinstance(e, Failure) and e.again),
            stop=tenacity.stop_after_attempt(self.patience.attempts),
            wait=self._seconds_before,
            before_sleep=self._note_attempt,
            sleep=self._sleep,
            reraise=True,
        )
        try:
            return await retrying(self._once, method, url, body, headers, paid)
        except Failure as failure:
            if failure.taken and paid:
                raise MaybeTaken(failure.error) from failure
            raise failure.error from None

    async def _once(
        self, method: str, url: str, body: dict[str, Any], headers: Mapping[str, str] | None, paid: bool
    ) -> Answer:
        sent = {
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": "diffatlas",
            **(headers or {}),
            "Authorization": f"{self.provider.scheme} {self._key.get_secret_value()}",
        }
        name = self.provider.label
        try:
            await self._look_up(url)
            async with self._client.stream(method, url, headers=sent, **body) as response:
                answer = Answer(response.status_code, response.headers, await _whole(response, name))
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout):
            error: DiffAtlasError = NetworkError(
                f"{name} cannot be reached: look at this machine's connection to the network."
            )
            raise Failure(error, taken=False, again=True) from None
        except httpx.TimeoutException:
            error = ProviderTimeout(f"{name} gave no answer in {self.patience.answer:g} s: try again later.")
            raise Failure(error, taken=True, again=not paid) from None
        except (httpx.HTTPError, httpx.InvalidURL):
            error = NetworkError(f"The connection to {name} broke in the middle of an answer: try again.")
            raise Failure(error, taken=True, again=not paid) from None
        if 200 <= answer.status < 300:
            return answer
        raise self._failure(answer, paid)

    async def _look_up(self, url: str) -> None:
        """Look up a host, once, in a thread that nobody waits for after a stop. Raises `httpx.ConnectError`."""
        parts = urlsplit(url)
        if parts.netloc in self._known:
            return
        try:
            await anyio.to_thread.run_sync(
                socket.getaddrinfo, parts.hostname, parts.port or 443, abandon_on_cancel=True
            )
        except OSError as error:
            raise httpx.ConnectError("There is no such host.") from error
        self._known.add(parts.netloc)

    def _failure(self, answer: Answer, paid: bool) -> Failure:
        body = answer.json()
        words = body if body is not None else answer.content[:2000].decode("utf-8", "replace")
        said = words_of(words, self._key.get_secret_value()) if not _is_page(words) else ""
        if 300 <= answer.status < 400:
            error: DiffAtlasError = HostedError(
                f"{self.provider.label} points to another address, where the key is not sent."
            )
            return Failure(error, taken=False, again=False)
        seconds = self._seconds_asked(answer)
        error = self._refusal(answer.status, said, body) or error_of(
            self.provider, answer.status, said, seconds
        )
        limited = isinstance(error, RateLimited)
        if seconds is None and isinstance(error, RateLimited):
            seconds = error.seconds
        # A gateway's fault says nothing of what is behind it, unless it says when to come again.
        down = isinstance(error, (ProviderDown, ProviderTimeout))
        taken = down and not (answer.status == 503 and seconds is not None)
        again = (limited or (down and not (paid and taken))) and (seconds or 0) <= self.patience.asked
        return Failure(error, taken=taken, again=again, seconds=seconds)

    def _seconds_asked(self, answer: Answer) -> float | None:
        seconds = seconds_to_wait(answer.headers)
        if seconds is None and answer.status == 429 and self.provider.reset_header in answer.headers:
            return seconds_to_wait({"retry-after": answer.headers[self.provider.reset_header]})
        return seconds

    def _seconds_before(self, state: tenacity.RetryCallState) -> float:
        """Return the wait before the next attempt: what the provider asks, else 2^n with jitter."""
        failure = state.outcome.exception() if state.outcome else None
        if isinstance(failure, Failure) and failure.seconds is not None:
            return failure.seconds
        longest = min(self.patience.most, self.patience.first * 2 ** (state.attempt_number - 1))
        return longest * random.uniform(0.5, 1.0)

    async def _note_attempt(self, state: tenacity.RetryCallState) -> None:
        failure = state.outcome.exception() if state.outcome else None
        why = (
            "cannot be reached"
            if isinstance(failure, Failure) and isinstance(failure.error, NetworkError)
            else ""
        )
        if isinstance(failure, Failure) and isinstance(failure.error, RateLimited):
            why = "asks to wait"
        self._why = (
            f"{self.provider.label} {why or 'has a fault of its own'}; then comes attempt "
            f"{state.attempt_number + 1} of {self.patience.attempts}."
        )

    async def _sleep(self, seconds: float) -> None:
        await count_down(seconds, self._why, self._tell)


async def count_down(seconds: float, why: str, tell: Tell) -> None:
    """Sleep, and tell once a second why and how many seconds are left."""
    clock = asyncio.get_running_loop().time
    end = clock() + seconds
    while (left := end - clock()) > 0:
        tell(why, float(math.ceil(left)))
        await asyncio.sleep(min(1.0, left))


async def _whole(response: httpx.Response, name: str) -> bytes:
    """Return the body. Raises `HostedError` for one that is too large or is packed."""
    if response.headers.get("content-encoding", "identity") not in ("identity", ""):
        raise Failure(
            HostedError(f"{name} answers in a packed form that was not asked for."), taken=True, again=False
        )
    parts, size = [], 0
    async for part in response.aiter_raw():
        size += len(part)
        if size > MOST_BYTES:
            raise Failure(
                HostedError(f"{name} answers with more than {MOST_BYTES // 1_000_000} MB."),
                taken=True,
                again=False,
            )
        parts.append(part)
    return b"".join(parts)


def _is_page(words: Any) -> bool:
    """Whether an answer is a page of HTML, such as gateways send, in which nothing is told."""
    return isinstance(words, str) and words.lstrip()[:1] == "<"
