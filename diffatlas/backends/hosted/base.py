"""What a provider of hosted models must provide: facts, and how a request is made, looked after and read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from diffatlas.errors import DiffAtlasError
from diffatlas.params import GenerationParams
from diffatlas.registry import HostedModel

if TYPE_CHECKING:
    from diffatlas.backends.hosted.http import Http


@dataclass(frozen=True)
class Provider:
    """The facts of a provider."""

    #: As in `diffatlas.registry.HOSTED`.
    name: str
    label: str
    #: Where its API is, without a slash at the end. The key is sent to this host, and to ``hosts``, and to no other.
    url: str
    #: Environment variables that may hold the key, the first one set counts.
    variables: tuple[str, ...]
    #: Where a key is made, and where credit is bought.
    keys_page: str
    billing_page: str
    hosts: tuple[str, ...] = ()
    #: What stands before the key in the header ``Authorization``.
    scheme: str = "Bearer"
    #: What every key begins with, where they all begin alike.
    key_start: str = ""
    #: A header with the seconds until a limit ends, for an answer of 429 that has no Retry-After.
    reset_header: str = ""
    #: Shapes (width : height) that its models without sides take; () for `diffatlas.backends.hosted.inputs.ASPECTS`.
    aspects: tuple[str, ...] = ()
    #: Whether a model's version may be asked for (`GenerationParams.revision`).
    revisions: bool = False
    #: Whether a request that it has taken can be asked for by its id, for some time after it is done too.
    follows: bool = False
    #: Requests that are under way at one time, of all visitors.
    concurrent: int = 4


@dataclass(frozen=True)
class Job:
    """A request that a provider has taken, as far as it is known."""

    #: The provider's id of the request, "" where it gives none.
    id: str
    #: "waiting" in the provider's queue, "running", or "done".
    status: str
    #: What it waits for, in a few words: "in the queue at place 3", "starting the model"; "" for nothing in particular.
    words: str = ""
    #: Of one that is done: the pictures, each as bytes of a file, or as a URL to fetch one from.
    images: tuple[bytes | str, ...] = ()
    #: The seed that the provider says it used, where it says one.
    seed: int | None = None
    #: What else it says that belongs to the run, as plain JSON: version, timings, flags of content.
    told: Mapping[str, Any] = field(default_factory=dict)


class Adapter(Protocol):
    """One provider's API. Each method makes its requests by ``http`` and lets its typed errors through.

    What a provider answers is read as untrusted: every value is checked for its type before it is used.
    """

    provider: Provider

    def arguments(self, model: HostedModel, params: GenerationParams) -> dict[str, Any]:
        """Return what is sent for a request, in the provider's own names, without the key.

        params: as `diffatlas.backends.hosted.inputs.fit` leaves them: what the model does not take is None or "".
        """
        ...

    async def create(self, http: Http, model: HostedModel, arguments: Mapping[str, Any]) -> Job:
        """Ask for an image. What may have been taken is never asked for a second time (``paid=True``)."""
        ...

    async def poll(self, http: Http, model: HostedModel, job: Job) -> Job:
        """Ask how a job is; raises `ContentRefused` or another `HostedError` for one that failed."""
        ...

    async def cancel(self, http: Http, model: HostedModel, job: Job) -> None:
        """Ask the provider to end a job; nothing where it cannot."""
        ...

    async def check_key(self, http: Http) -> None:
        """Ask something that costs nothing and needs the key. Raises `KeyRefused` for one that is not taken."""
        ...

    def refusal(self, status: int, said: str, body: Any) -> DiffAtlasError | None:
        """Return the typed error of an answer that is none, where it is not what its status says; else None.

        status: the status of HTTP. said: the provider's own words, cleaned. body: its JSON, or None.
        """
        ...

    async def recover(
        self, http: Http, model: HostedModel, arguments: Mapping[str, Any], since: float
    ) -> Job | None:
        """Return the job that was made of these arguments since a time (Unix, seconds), although no answer came.

        None where the provider has no list of its requests, or none fits: the request is then not repeated.
        """
        ...


class AnswersAtOnce:
    """The part of an adapter whose provider answers with the image, and keeps no list of requests."""

    async def poll(self, http: Http, model: HostedModel, job: Job) -> Job:
        """Return the job: it is done when it is known."""
        return job

    async def cancel(self, http: Http, model: HostedModel, job: Job) -> None:
        """Do nothing: a request cannot be taken back."""

    async def recover(
        self, http: Http, model: HostedModel, arguments: Mapping[str, Any], since: float
    ) -> Job | None:
        """Return None: what was lost cannot be looked up."""
        return None
