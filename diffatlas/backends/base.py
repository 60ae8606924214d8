"""What a backend that can see inside must provide."""

from __future__ import annotations

import threading
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from diffatlas.capture.spec import Capture
from diffatlas.events import Event
from diffatlas.params import GenerationParams


@dataclass(frozen=True)
class Capabilities:
    """What a backend can do. Asking for more is answered with `CapabilityError`."""

    #: Yields the steps of a run, not only its image.
    trace: bool = False
    #: Ends a run early and keeps what has arrived.
    cancel: bool = False
    #: Takes another scheduler than the model's own.
    schedulers: bool = False
    negative_prompt: bool = False
    #: Several images in one batch.
    batch: bool = False
    #: Takes a guidance method (`diffatlas.guidance.METHODS`).
    guidance_methods: bool = False
    #: Takes noise that is perturbed or interpolated (`diffatlas.params.Noise`).
    noise: bool = False
    #: Takes LoRA files (`diffatlas.params.Lora`).
    loras: bool = False
    #: Runs that may be under way at the same time.
    concurrent: int = 1


@runtime_checkable
class Backend(Protocol):
    """A place where models run."""

    name: str
    capabilities: Capabilities

    def trace(
        self, params: GenerationParams, capture: Capture | None = None, stop: threading.Event | None = None
    ) -> Generator[Event, None, None]:
        """Run ``params`` and yield ``Started, Step..., Image..., Finished | Failed``.

        Errors never leave the generator as exceptions: each ends the stream as a `Failed` event, also those
        that happen before `Started` (an unknown model, a bad size). `diffatlas.run.collect` turns a `Failed`
        before `Started` back into its typed exception, because there is no run to keep.

        There are two ways to end a run early; both stop the denoiser within one step. Setting ``stop`` ends
        the stream with ``Finished(status="stopped")`` and no `Image` (before `Started`, that event stands
        alone). Closing the generator ends the run at once and waits for the step in progress.
        """
        ...


@runtime_checkable
class IdentifiedBackend(Backend, Protocol):
    """A backend that knows, without running, what decides a result.

    Its runs can be served from a library. A backend without these two methods works as well; an identical
    request runs again there.
    """

    def resolve(self, params: GenerationParams) -> GenerationParams:
        """Return ``params`` with the model's own size and scheduler filled in where they are None.

        Raises a `DiffAtlasError` for a request that cannot run.
        """
        ...

    def identity(self, params: GenerationParams) -> dict[str, Any] | None:
        """Return everything that decides the result of ``params`` (resolved) and that they do not say.

        Plain JSON types without a clock or a path, and exactly what `Started` carries as
        ``provenance["identity"]`` when they run. None where it cannot be known without running.
        """
        ...


@runtime_checkable
class BatchBackend(Backend, Protocol):
    """A backend that runs several cells in one call of its pipeline.

    Where it is an `IdentifiedBackend` too, its ``identity(params, batched=True)`` is that of a cell of a batch.
    """

    def trace_batch(
        self,
        cells: Sequence[GenerationParams],
        capture: Capture | None = None,
        stop: threading.Event | None = None,
    ) -> Generator[tuple[int, Event], None, None]:
        """Run ``cells`` together, and yield (position in ``cells``, event).

        The cells agree in all but seed, guidance_scale, guidance_method, guidance_options and noise, and each makes
        one image. The events of one position are those that `Backend.trace` yields of that cell alone, with a batch
        axis of 1, equal to them within floating-point tolerance. ``Started.provenance["batch"]`` says {"size",
        "index"}. `Finished.seconds` are those of the whole call.

        A cell that fails by itself (NaN, a black image) ends in its own `Failed`, and the others go on. What fails
        all of them, such as a lack of memory, is a `Failed` for each that has not ended. Where the cells cannot share
        a call, but may run one by one, its field is "batch" and it comes before any `Started`.

        Raises `InvalidParams`, at the call, for cells that do not fit together.
        """
        ...
