"""A provider of hosted models as a backend: one request, looked after until its image is here."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from threading import Event as Flag
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr

from diffatlas.backends.base import Capabilities
from diffatlas.backends.hosted import adapter_of, inputs, money, provider_of
from diffatlas.backends.hosted.base import Adapter, Job, Provider
from diffatlas.backends.hosted.downloads import download
from diffatlas.backends.hosted.http import Http, MaybeTaken, Patience, Tell
from diffatlas.backends.hosted.keys import key_of
from diffatlas.backends.hosted.limits import slot
from diffatlas.backends.hosted.pictures import Picture, read_picture
from diffatlas.backends.producer import Put, Stopping, stream
from diffatlas.capture.spec import Capture
from diffatlas.errors import (
    BackendFailure,
    BadDownload,
    CapabilityError,
    DiffAtlasError,
    HostedError,
    NetworkError,
    ProviderTimeout,
    UnknownModel,
)
from diffatlas.events import Event, Failed, Finished, Image, Started, Waiting
from diffatlas.params import GenerationParams
from diffatlas.registry import HostedModel, hosted_model, list_models
from diffatlas.run import new_run_id, timestamp

log = logging.getLogger("diffatlas")

#: By what the wait from one look at a job to the next grows.
GROWTH = 1.3
#: Times that a picture is fetched, which costs nothing.
FETCHES = 3
#: Seconds that a provider has to hear that a job is no longer wanted.
CANCEL_SECONDS = 5.0
_LOOK = 0.05


@dataclass(frozen=True)
class Asked:
    """A request as it is sent."""

    params: GenerationParams
    model: HostedModel
    arguments: Mapping[str, Any]
    #: A sentence for each field that the model does not heed.
    ignored: Mapping[str, str]


class HostedBackend:
    """Runs models of one provider.

    Args:
        name: one of `diffatlas.registry.HOSTED`.
        key: the provider's key; that of the environment where None. It is held in memory alone.
        url: another address of the provider; that of the settings where None.
        patience: how long and how often the provider is asked.
        visitor: whose budget a request counts to, on a server that lends its own keys; listed models alone then.

    Raises `KeyRefused` where there is no key, and `InvalidParams` for an unknown provider.
    """

    def __init__(
        self,
        name: str,
        key: str | SecretStr | None = None,
        url: str | None = None,
        patience: Patience | None = None,
        visitor: str | None = None,
    ) -> None:
        from dataclasses import replace

        self.name = name
        self._adapter: Adapter = adapter_of(name)
        provider = provider_of(name)
        self.provider: Provider = (
            provider if url is None else replace(provider, url=url.rstrip("/"), hosts=())
        )
        self._key = key_of(provider, key)
        self._patience = patience or Patience()
        self._visitor = visitor
        self.capabilities = Capabilities(
            cancel=True, negative_prompt=True, concurrent=self.provider.concurrent
        )

    def resolve(self, params: GenerationParams) -> GenerationParams:
        """Return ``params`` with the model's own sides where it takes sides and none are asked.

        Raises `CapabilityError` for what the model cannot do, `InvalidParams` for what no model can.
        """
        asked = self._asked(params)
        if not asked.model.has("size"):
            return params
        return params.replace(width=asked.params.width, height=asked.params.height)

    def ignored(self, params: GenerationParams) -> dict[str, str]:
        """Return a sentence for each field of a request that its model does not heed. Raises as `resolve`."""
        return dict(self._asked(params).ignored)

    def identity(self, params: GenerationParams) -> dict[str, Any] | None:
        """Return what decides the result: the provider, the model and all that is sent.

        None where the model takes no seed, so that the same request makes another image. Raises as `resolve`.
        """
        asked = self._asked(params)
        return None if "seed" in asked.ignored else self._identity(asked)

    def check_key(self) -> None:
        """Ask the provider whether it takes the key, which costs nothing. Raises a `HostedError` where it does not."""
        # On a thread of its own: a notebook's has a loop that runs already.
        with ThreadPoolExecutor(1) as thread:
            thread.submit(asyncio.run, self._check_key()).result()

    @property
    def follows(self) -> bool:
        """Whether `trace` takes the id of a request that the provider has taken."""
        return self.provider.follows

    def trace(
        self,
        params: GenerationParams,
        capture: Capture | None = None,
        stop: Flag | None = None,
        taken: str = "",
    ) -> Generator[Event, None, None]:
        """Run ``params``; see `diffatlas.backends.base.Backend.trace`.

        taken: the provider's id of a request like this one that it has taken, and whose image never arrived: it is
            looked after instead of being made, and paid for, again. Where it has come to nothing, it is made.

        `Waiting` events tell what the provider makes it wait for. `Started` comes when the provider has accepted the
        request: what is wrong before leaves no run. There are no steps: a provider returns the finished image.
        """
        capture = capture or Capture()
        return stream(lambda put, stopping: self._work(params, capture, taken, put, stopping), stop)

    def _asked(self, params: GenerationParams) -> Asked:
        params.validate()
        model = hosted_model(params.model, self.name)
        if self._visitor is not None and model not in list_models(self.name):
            raise CapabilityError(
                f"With the key of this server's host only the models of its list for {self.provider.label} may be run: "
                "choose one of them, or type a key of your own on the page Settings.",
                field="model",
            )
        fitted, ignored = inputs.fit(params, model, self.provider)
        return Asked(params, model, self._adapter.arguments(model, fitted), ignored)

    def _identity(self, asked: Asked) -> dict[str, Any]:
        return {"backend": self.name, "model": asked.model.id, "sent": dict(asked.arguments)}

    async def _check_key(self) -> None:
        async with self._http(lambda *_: None) as http:
            await self._adapter.check_key(http)

    def _http(self, tell: Tell) -> Http:
        return Http(self.provider, self._key, self._adapter.refusal, tell, self._patience)

    def _work(
        self, params: GenerationParams, capture: Capture, taken: str, put: Put, stopping: Stopping
    ) -> None:
        begun = time.perf_counter()
        try:
            asked = self._asked(params)
            done = asyncio.run(_until(lambda: self._run(asked, capture, taken, put, begun), stopping))
            if not done:
                put(Finished("stopped", time.perf_counter() - begun))
        except DiffAtlasError as error:
            put(Failed(error.code, error.message, error.field))
        except Exception as error:
            # The message of another's error may hold what was sent, and with it the key.
            log.error("A hosted run failed with %s.", type(error).__name__)
            put(
                Failed(
                    BackendFailure.code,
                    f"The run at {self.provider.label} failed with {type(error).__name__}.",
                )
            )

    async def _run(self, asked: Asked, capture: Capture, taken: str, put: Put, begun: float) -> None:
        """Make the request, look after it, and put its events."""

        def tell(words: str, seconds: float | None) -> None:
            put(Waiting(words, seconds))

        label = self.provider.label
        try:
            async with (
                slot(self.provider, tell),
                asyncio.timeout(self._patience.image),
                self._http(tell) as http,
            ):
                job = await self._found(http, asked, taken) or await self._created(http, asked)
                put(self._started(asked, job, capture))
                job = await self._done(http, asked, job, tell)
                if not job.images:
                    raise HostedError(f"{label} ended the request without an image.")
                picture = await self._picture(job.images[0])
        except TimeoutError:
            raise ProviderTimeout(
                f"{label} made no image in {self._patience.image:g} s: try again later."
            ) from None
        put(Image(0, picture.pixels))
        put(
            Finished(
                "complete",
                time.perf_counter() - begun,
                missing=_missing(label),
                provenance={"hosted": self._hosted(asked, job, picture)},
            )
        )

    async def _found(self, http: Http, asked: Asked, taken: str) -> Job | None:
        """Return a job that was made before; None where there is none, or it has come to nothing."""
        if not taken:
            return None
        try:
            return await self._adapter.poll(http, asked.model, Job(taken, "waiting"))
        except (CapabilityError, UnknownModel):
            return None
        except HostedError as error:
            # What says nothing of the job, or says that it would come to the same, goes on.
            if type(error) is not HostedError:
                raise
            return None

    async def _created(self, http: Http, asked: Asked) -> Job:
        """Return the job that the provider made of a request, which is paid for once at most."""
        model = asked.model
        give_back = money.reserve(
            self.name, model.dollars(asked.params.width, asked.params.height), self._visitor
        )
        since = time.time()
        try:
            return await self._adapter.create(http, model, asked.arguments)
        except MaybeTaken as maybe:
            with suppress(DiffAtlasError):
                if found := await self._adapter.recover(http, model, asked.arguments, since):
                    return found
            error = maybe.error
            error.message = (
                f"{error.message.rstrip('.')}. The image may have been made and paid for all the same, so it was not "
                "asked for again."
            )
            raise error from None
        except DiffAtlasError:
            give_back()
            raise

    async def _done(self, http: Http, asked: Asked, job: Job, tell: Tell) -> Job:
        """Return the job once it is done. It is ended at the provider where it is no longer wanted."""
        wait = self._patience.look
        try:
            while job.status != "done":
                tell(_words(self.provider.label, job), None)
                await asyncio.sleep(wait)
                wait = min(wait * GROWTH, self._patience.look_most)
                job = await self._adapter.poll(http, asked.model, job)
        except asyncio.CancelledError:
            ending = asyncio.create_task(self._adapter.cancel(http, asked.model, job))
            with suppress(DiffAtlasError, MaybeTaken, TimeoutError):
                async with asyncio.timeout(CANCEL_SECONDS):
                    await asyncio.shield(ending)
            raise
        return job

    async def _picture(self, image: bytes | str) -> Picture:
        """Return the picture, fetched where it is elsewhere, more than once where it did not arrive whole."""
        if isinstance(image, bytes):
            return read_picture(image)
        own = []
        moved = urlsplit(self.provider.url)
        if moved.hostname and self.provider != self._adapter.provider:
            own.append((moved.hostname, moved.port or (443 if moved.scheme == "https" else 80)))
        for attempt in range(1, FETCHES + 1):
            try:
                return read_picture(await download(image, own=own))
            except (BadDownload, NetworkError, ProviderTimeout) as error:
                if attempt == FETCHES or (isinstance(error, BadDownload) and not error.passing):
                    raise
                await asyncio.sleep(self._patience.first * attempt)
        raise AssertionError("unreachable")

    def _started(self, asked: Asked, job: Job, capture: Capture) -> Started:
        identity = None if "seed" in asked.ignored else self._identity(asked)
        return Started(
            run_id=new_run_id(),
            params=asked.params,
            initial_latents=None,
            initial_sigma=None,
            total_steps=None,
            provenance={
                "backend": self.name,
                "model": asked.model.id,
                "started": timestamp(),
                "hosted": self._hosted(asked, job),
                **({"ignored": dict(asked.ignored)} if asked.ignored else {}),
                **({"identity": identity} if identity else {}),
            },
            capture=capture.to_dict(),
        )

    def _hosted(self, asked: Asked, job: Job, picture: Picture | None = None) -> dict[str, Any]:
        """Return what was sent, and what the provider has said of it so far."""
        found = {
            "provider": self.provider.label,
            "model": asked.model.id,
            "sent": dict(asked.arguments),
            "request_id": job.id,
            "seed": job.seed,
            "told": dict(job.told),
        }
        if picture is not None:
            found["image"] = {"kind": picture.kind, "sha256": picture.sha256, "bytes": picture.bytes}
        return found


def open_hosted(name: str, /, **options: Any) -> HostedBackend:
    """Open the backend of a provider; ``options`` are those of `HostedBackend`."""
    return HostedBackend(name, **options)


async def _until(work: Callable[[], Coroutine[Any, Any, None]], stopping: Stopping) -> bool:
    """Await ``work()``, and end it at once where ``stopping()`` turns true; return whether it was let to its end."""
    if stopping():
        return False
    task = asyncio.ensure_future(work())
    while not task.done():
        await asyncio.wait({task}, timeout=_LOOK)
        if stopping() and not task.done():
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            return False
    task.result()
    return True


def _words(label: str, job: Job) -> str:
    if job.words:
        return f"{label}: {job.words}."
    return (
        f"{label} has the request in its queue." if job.status == "waiting" else f"{label} makes the image."
    )


def _missing(label: str) -> dict[str, str]:
    """Return why a hosted run has nothing but its image."""
    why = f"{label} shows no latents: a hosted service returns only the finished image."
    return dict.fromkeys(
        ("latents", "noise_pred", "cond_pred", "x0_pred", "previews", "attention", "metrics"), why
    )
