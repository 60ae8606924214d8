"""One run at another Atlas: begun, followed to its end over whatever the network does, and ended there."""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import httpx

from diffatlas.backends.producer import Stopping
from diffatlas.backends.remote.asking import Asking
from diffatlas.backends.remote.protocol import ALIVE, BINARY, END, Frames, answer_of, error_of_end
from diffatlas.backends.wire import Asked, answer_from_bytes, asked_to_bytes
from diffatlas.errors import BackendFailure, DiffAtlasError, NetworkError, ProviderDown, ProviderTimeout
from diffatlas.events import Event, Failed, Finished, Waiting

log = logging.getLogger("diffatlas")

#: Seconds from one look at whether the run is still wanted to the next.
LOOK = 0.05
#: Seconds from one attempt to end a run there to the next.
AGAIN = 1.0
#: Errors after which the same request may be answered.
PASSING = (NetworkError, ProviderDown, ProviderTimeout)

Put = Callable[[tuple[int, Event]], None]


class _Cut(Exception):
    """The events ended before the run did."""


class Following:
    """Runs a request at another Atlas and puts (position, event) as they come.

    put: may wait. packing: whether events are sent packed.
    """

    def __init__(self, asking: Asking, asked: Asked, packing: bool, put: Put) -> None:
        self._asking = asking
        self._asked = asked
        self._packing = packing
        self._put = put
        #: Chosen here, so that a request whose answer was lost can be made again without a second run.
        self.run_id = secrets.token_hex(16)
        self._begun = False
        #: Whether the connection is lost just now.
        self._lost = False
        self._left = set(range(len(asked.cells)))
        self._since = time.perf_counter()

    def run(self, stopping: Stopping) -> None:
        """Run to the end; every outcome becomes events."""
        try:
            if not asyncio.run(self._run(stopping)):
                self._put_to_all(Finished("stopped", time.perf_counter() - self._since))
        except DiffAtlasError as error:
            self._put_to_all(Failed(error.code, error.message, error.field))
        except Exception as error:
            # The message of another's error may hold what was sent, and with it the token.
            log.error("A run at another Atlas failed with %s.", type(error).__name__)
            self._put_to_all(
                Failed(
                    BackendFailure.code,
                    f"The run at {self._asking.place.called} failed with {type(error).__name__}.",
                )
            )

    async def _run(self, stopping: Stopping) -> bool:
        """Return whether the run was seen to end; it was not where nothing came after it was stopped."""
        patience = self._asking.patience
        if stopping():
            return False
        async with httpx.AsyncClient(**self._asking.options(patience.silent)) as http:
            following = asyncio.create_task(self._follow(http))
            wanting = asyncio.create_task(self._want(http))
            ending: asyncio.Task[None] | None = None
            try:
                until = float("inf")
                while not following.done() and time.monotonic() < until:
                    await asyncio.wait({following}, timeout=LOOK)
                    if stopping() and ending is None:
                        until = time.monotonic() + patience.stopping
                        ending = asyncio.create_task(self._end(http))
                    if ending is not None and self._lost:
                        # It ends there because nobody asks for it.
                        return False
                if not following.done():
                    return False
                following.result()
                if self._left:
                    raise self._asking.unreadable()
                return True
            finally:
                for task in (following, wanting, *filter(None, [ending])):
                    task.cancel()
                    with suppress(asyncio.CancelledError, Exception):
                        await task
                # Its events are not asked for again: nothing of it need be kept there.
                if self._begun:
                    with suppress(httpx.HTTPError):
                        await http.delete(f"runs/{self.run_id}", timeout=AGAIN)

    async def _follow(self, http: httpx.AsyncClient) -> None:
        """Begin the run and take its events. Raises the typed error that ends it."""
        body = asked_to_bytes(self._asked)
        await self._again_while_lost(lambda lost: self._begin(http, body))
        at = 0

        async def events(lost: _Lost) -> None:
            nonlocal at
            path = f"runs/{self.run_id}/events?from={at}"
            async with http.stream("GET", path) as response:
                if response.status_code != 200 or self._asking.refusal(200, response.headers, b""):
                    content = await response.aread()
                    raise self._asking.refusal(response.status_code, response.headers, content) or _Cut
                frames = Frames()
                async for part in response.aiter_raw():
                    for kind, payload in frames.take(part):
                        lost.over()
                        if kind == END:
                            if error := error_of_end(payload):
                                raise error
                            return
                        if kind != ALIVE:
                            at += 1
                            await self._take(answer_from_bytes(answer_of(kind, payload)))
            raise _Cut

        try:
            await self._again_while_lost(events)
        except ValueError:
            raise self._asking.unreadable() from None

    async def _begin(self, http: httpx.AsyncClient, body: bytes) -> None:
        response = await http.post(
            f"runs?id={self.run_id}&packing={'yes' if self._packing else 'no'}",
            content=body,
            headers={"Content-Type": BINARY},
            timeout=httpx.Timeout(self._asking.patience.answer, connect=self._asking.patience.connect),
        )
        if refusal := self._asking.refusal(response.status_code, response.headers, response.content):
            raise refusal
        self._begun = True

    async def _again_while_lost(self, work: Callable[[_Lost], Awaitable[None]]) -> None:
        """Do something, again and again where the connection breaks, until it is lost for too long."""
        lost = _Lost(self._asking.patience)
        while True:
            error: DiffAtlasError
            try:
                await work(lost)
                return
            except (httpx.TransportError, _Cut) as fault:
                error = self._asking.fault(fault)
                if not self._begun and isinstance(fault, (httpx.ConnectError, httpx.ConnectTimeout)):
                    # Nothing was lost: there is nobody.
                    raise error from None
            except PASSING as fault:
                if isinstance(fault, NetworkError):
                    # The other end says so: it has given the run up.
                    raise
                error = fault
            seconds = lost.wait()
            if seconds is None:
                raise NetworkError(
                    f"The connection to {self._asking.place.called} was lost and did not come back in "
                    f"{self._asking.patience.lost:g} s; the run ends there: look at the network, then run it again."
                ) from error
            words = f"The connection to {self._asking.place.called} broke; it is made again."
            await self._take((min(self._left, default=0), Waiting(words, seconds)))
            self._lost = True
            await asyncio.sleep(seconds)
            self._lost = False

    async def _want(self, http: httpx.AsyncClient) -> None:
        """Say, as long as the run is under way, that it is wanted."""
        while True:
            await asyncio.sleep(self._asking.patience.wanted)
            if self._begun:
                # Whether the connection is lost is noticed where events are awaited.
                with suppress(httpx.HTTPError):
                    await http.post(f"runs/{self.run_id}/wanted")

    async def _end(self, http: httpx.AsyncClient) -> None:
        """Have the run ended there. Its last events come as those before did."""
        while True:
            if self._begun:
                with suppress(httpx.HTTPError):
                    if (await http.delete(f"runs/{self.run_id}")).status_code < 500:
                        return
            await asyncio.sleep(AGAIN if self._begun else LOOK)

    async def _take(self, item: tuple[int, Event]) -> None:
        position, event = item
        if position not in range(len(self._asked.cells)):
            raise ValueError("This event is of no cell.")
        # The next waits until this one has been taken, while the loop goes on saying that the run is wanted.
        await asyncio.to_thread(self._put, item)
        if isinstance(event, (Finished, Failed)):
            self._left.discard(position)

    def _put_to_all(self, event: Event) -> None:
        for position in sorted(self._left):
            self._put((position, event))


class _Lost:
    """Since when a connection is lost, and how long the next wait is."""

    def __init__(self, patience: Any) -> None:
        self._patience = patience
        self.over()

    def over(self) -> None:
        """Note that something arrived."""
        self._since: float | None = None
        self._tries = 0

    def wait(self) -> float | None:
        """Return the seconds until the next attempt; None where it is given up."""
        now = time.monotonic()
        self._since = now if self._since is None else self._since
        if now - self._since > self._patience.lost:
            return None
        longest = min(self._patience.most, self._patience.first * 2**self._tries)
        self._tries += 1
        return longest * random.uniform(0.5, 1.0)
