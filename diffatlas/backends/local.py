"""The local backend: one pipeline resident on this machine's device, one run at a time."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from diffatlas import events
from diffatlas.backends import (
    batching,
    decoding,
    given,
    guidable,
    loading,
    loras,
    model_info,
    schedulers,
    tasks,
    threads,
    told,
)
from diffatlas.backends.base import Capabilities
from diffatlas.backends.call import call_arguments
from diffatlas.backends.estimate import Estimate
from diffatlas.backends.failures import as_event, as_typed
from diffatlas.backends.identity import identity_of
from diffatlas.backends.loading import Loaded
from diffatlas.backends.model_info import ModelInfo
from diffatlas.backends.outcome import Stopped, check_finite, check_light
from diffatlas.backends.paces import Paces
from diffatlas.backends.parts import FolderParts
from diffatlas.backends.producer import Put, Stopping, stream
from diffatlas.backends.tasks import TakesPicture
from diffatlas.backends.weights import variant_of
from diffatlas.capture.calls import denoisers
from diffatlas.capture.keeper import pictures_of
from diffatlas.capture.ran_on import revision_of
from diffatlas.capture.spec import Capture
from diffatlas.errors import BackendFailure, InvalidParams, ModelLoadError, UnknownModel
from diffatlas.params import GenerationParams
from diffatlas.run import new_run_id
from diffatlas.settings import settings

log = logging.getLogger("diffatlas")


class LocalBackend:
    """Runs diffusers pipelines on this machine.

    One pipeline stays resident; asking for another frees it first. One run at a time: other callers wait
    their turn, and can be stopped while they wait.

    Args:
        device: "auto", "cpu", "cuda", "cuda:1", "mps"...
        dtype: "auto", "fp32", "fp16" or "bf16".
        ignore_memory: load a model even where it is expected not to fit.
        Each is taken from `diffatlas.settings` where it is None.
        pipe: a pipeline of diffusers that is in memory. Requests that name no model of their own run on it, and it is
            left as it was. It stays where it is, and in its dtype.
        name: what it is called as a model; its folder, its id on the Hub or its class where None.

    Raises `CapabilityError` for a pipeline that cannot be observed, `InvalidParams` for options that do not fit.
    """

    name = "local"
    capabilities = Capabilities(
        trace=True,
        cancel=True,
        schedulers=True,
        negative_prompt=True,
        batch=True,
        guidance_methods=True,
        noise=True,
        loras=True,
    )

    def __init__(
        self,
        device: str | None = None,
        dtype: str | None = None,
        ignore_memory: bool | None = None,
        pipe: Any = None,
        name: str | None = None,
    ) -> None:
        chosen = settings()
        self._device = chosen.device if device is None else device
        self._dtype = chosen.dtype if dtype is None else dtype
        self._ignore_memory = chosen.ignore_memory if ignore_memory is None else ignore_memory
        self._lock = threading.Lock()
        self._resident: Loaded | None = None
        self._naming = threading.Lock()
        #: Pipelines that were handed in, by name, each as it was when it was last looked at.
        self._given: dict[str, Loaded] = {}
        self._paces = Paces()
        self._own_model: str | None = None
        #: That of them which a run is on.
        self._running: str | None = None
        if pipe is not None:
            if device is not None or dtype is not None:
                raise InvalidParams(
                    "A pipeline that is handed in stays on its device and in its dtype: move it with pipe.to(...).",
                    field="device",
                )
            self._own_model = self.add(pipe, name)
        elif name is not None:
            raise InvalidParams("A name is for a pipeline: give pipe as well.", field="name")

    def add(self, pipe: Any, name: str | None = None) -> str:
        """Take a pipeline in memory as a model beside the others, and return what it is called.

        Raises as the constructor does, and `InvalidParams` where another pipeline is called so.
        """
        loaded = given.loaded_from(pipe, name)
        held = self._given.get(loaded.source.model)
        if held is not None and held.pipe is not pipe:
            raise InvalidParams(
                f"Another pipeline is called {loaded.source.model!r}: give this one another name.",
                field="name",
            )
        with self._naming:
            self._given[loaded.source.model] = loaded
        return loaded.source.model

    def remove(self, name: str) -> None:
        """Let go of a pipeline of `add`; a run in progress keeps it to its end. No harm where none is called so."""
        with self._naming:
            self._given.pop(name, None)
        self._paces.forget(name)

    @property
    def own_model(self) -> str | None:
        """What the pipeline is called that was handed in when the backend was opened."""
        return self._own_model

    def info(self, model: str) -> ModelInfo | None:
        """Return what can be known of a model without loading it; None for one not yet fetched."""
        if model in self._given:
            return self._given[model].info
        source = model_info.find_source(model)
        return model_info.describe(model, source.folder, source.entry) if source.folder else None

    def guidance_methods(self, model: str) -> tuple[str, ...]:
        """Return the guidance methods that a model should take, without loading it; () for one not yet fetched.

        Raises `UnknownModel` or `ModelLoadError`.
        """
        if model in self._given:
            return guidable.guidance_methods(self._given[model].parts)
        folder = self._folder(model_info.find_source(model))
        return guidable.guidance_methods(FolderParts(folder)) if folder else ()

    def guidance_kind(self, model: str) -> guidable.GuidanceKind | None:
        """Return how a model's guidance scale acts, without loading it; None for one not yet fetched.

        Raises `UnknownModel` or `ModelLoadError`.
        """
        if model in self._given:
            return guidable.guidance_kind(self._given[model].parts)
        folder = self._folder(model_info.find_source(model))
        return guidable.guidance_kind(FolderParts(folder)) if folder else None

    def takes_picture(self, model: str) -> TakesPicture | None:
        """Return what a model does with a picture, without loading it: what most do, of one not yet fetched.

        None where it takes none, or needs several. Raises `UnknownModel` or `ModelLoadError`.
        """
        if model in self._given:
            return tasks.picture_of(self._given[model].parts)
        folder = self._folder(model_info.find_source(model))
        return tasks.picture_of(FolderParts(folder)) if folder else tasks.USUAL

    def resolve(self, params: GenerationParams) -> GenerationParams:
        """Return ``params`` with size, scheduler and guidance options filled in, without loading anything.

        A model that is not fetched yet is only looked up; the rest is checked when it runs.

        Raises:
            InvalidParams: a field is out of range or does not fit the model (also `SchedulerMismatch`).
            CapabilityError: the model does not take the guidance method.
            UnknownModel: no such model.
            ModelLoadError: the model has no such revision or subfolder here.
        """
        if self._model_of(params) not in self._given:
            params.validate()
        source = self._source(params)
        params = params.replace(model=source.model)
        if source.model in self._given:
            held = self._given[source.model]
            if self._running != source.model:
                held = given.loaded_from(held.pipe, source.model)
            given.check(held, params)
            loras.check(params.loras)
            return told.fit(params, held.parts, held.info)
        loras.check(params.loras)
        folder = self._folder(source)
        if folder is None:
            return params
        return told.fit(params, FolderParts(folder), model_info.describe(params.model, folder, source.entry))

    def identity(self, params: GenerationParams, batched: bool = False) -> dict[str, Any] | None:
        """Return what decides the result of ``params`` (resolved) besides them, without loading the model.

        It is what a run of them stores as ``provenance["identity"]``; `identity_of` lists what is in it.
        ``batched``: as a cell of a batch.
        None where it cannot be known: the model is not on this machine yet, or it is a pipeline in memory of which
        something decides the results that cannot be told (`diffatlas.capture.digest`).

        Raises `UnknownModel` or `ModelLoadError` for a model that cannot run, `InvalidParams` for a device
        that cannot be used.
        """
        source = self._source(params)
        if source.model in self._given:
            return told.identity(self._held(source.model), params, batched)
        resident = self._resident
        if resident is not None and resident.source == source:
            # What would run, even where the files have changed since.
            return told.identity(resident, params, batched)
        folder = self._folder(source)
        if folder is None:
            return None
        device = self.device
        dtype = loading.pick_dtype(self._dtype, device, source, folder)
        variant = variant_of(model_info.weights_of(source, folder))
        revision = model_info.revision(folder)
        added = loras.described(params.loras)
        return identity_of(source, folder, device, dtype, revision, params, batched, variant, added)

    def trace(
        self, params: GenerationParams, capture: Capture | None = None, stop: threading.Event | None = None
    ) -> Generator[events.Event, None, None]:
        """Run ``params``; see `diffatlas.backends.base.Backend.trace`.

        One image is drawn from ``torch.Generator().manual_seed(seed)`` on the CPU, so a seed means the same
        noise on every device. Image i of a batch has a generator of its own with seed ``seed + i``.
        """
        return stream(lambda put, stopping: self._work(params, capture or Capture(), put, stopping), stop)

    def trace_batch(
        self,
        cells: Sequence[GenerationParams],
        capture: Capture | None = None,
        stop: threading.Event | None = None,
    ) -> Generator[tuple[int, events.Event], None, None]:
        """Run several cells in one pipeline call; see `diffatlas.backends.base.BatchBackend.trace_batch`."""
        cells = tuple(cells)
        batching.check_cells(cells)
        return stream(
            lambda put, stopping: self._work_batch(cells, capture or Capture(), put, stopping), stop
        )

    def estimate(self, params: GenerationParams, capture: Capture | None = None) -> Estimate | None:
        """Return what a request should take here, from what its model was measured to take, without waiting.

        None where nothing was measured yet: `measure` does. Raises `UnknownModel` or `ModelLoadError`.
        """
        return self._paces.estimate(self._source(params), params, capture)

    def measure(
        self, params: GenerationParams, capture: Capture | None = None, stop: threading.Event | None = None
    ) -> Estimate | None:
        """Return what a request should take here: load its model, and try it out where it is small and was not yet.

        Waits for the run in progress. None where that is not known before it runs, and where ``stop`` was set.
        Raises as `resolve`, and the typed errors of `diffatlas.backends.loading.load`.
        """
        params = self.resolve(params)
        source = self._source(params)
        if not self._paces.tried(source) and not self._try_out(source, stop):
            return None
        return self.estimate(params, capture)

    def measure_again(self, params: GenerationParams, stop: threading.Event | None = None) -> bool:
        """Try a model out once more, where that was done `diffatlas.backends.paces.AGAIN` seconds ago or more.

        What was measured on a machine that was busy is too much, and what is refused for it would never correct it.
        Returns whether it was; waits and raises as `measure`.
        """
        source = self._source(self.resolve(params))
        return self._paces.is_due(source) and self._try_out(source, stop)

    def _try_out(self, source: model_info.ModelSource, stop: threading.Event | None) -> bool:
        """Load a model and try it out, after the run in progress; False where ``stop`` was set."""

        def stopping() -> bool:
            return stop is not None and stop.is_set()

        while not stopping():
            if not self._lock.acquire(timeout=0.05):
                continue
            try:
                loaded = self._load(source)
                left = given.left_as_it_was(loaded.pipe) if loaded.folder is None else nullcontext()
                with left, threads.fitting(denoisers(loaded.pipe)):
                    self._paces.try_out(loaded, stopping)
                return True
            except Stopped:
                return False
            finally:
                self._lock.release()
        return False

    def decode(self, params: GenerationParams, latents: np.ndarray, *, wait: float = 2.0) -> np.ndarray:
        """Return pictures (B, H, W, 3), uint8, of latents by the VAE of ``params.model``.

        latents: (B, ...) as the pipeline of that model holds clean latents; packed ones are unpacked by the
            aspect of ``params.width`` and ``params.height``.
        wait: seconds to wait for a run that is in progress.

        The model is loaded where it is not resident (`is_loaded`), which frees the one that is.

        Raises:
            BackendFailure: a run was still in progress after ``wait`` seconds.
            CapabilityError: the latents are not of a form that this VAE decodes.
            The typed errors of `diffatlas.backends.loading.load`.
        """
        source = self._source(params)
        if not self._lock.acquire(timeout=wait):
            raise BackendFailure("The model is busy with a run: wait until it has ended, then try again.")
        try:
            loaded = self._load(source)
            with threads.fitting(denoisers(loaded.pipe)):
                return decoding.decode(loaded, params, latents)
        except Exception as error:
            typed = as_typed(error, params)
            if typed is error:
                raise
            raise typed from error
        finally:
            self._lock.release()

    def is_loaded(self, model: str) -> bool:
        """Return whether a model is resident, without waiting; False for an unknown one."""
        if model in self._given:
            return True
        resident = self._resident
        try:
            return resident is not None and resident.source == model_info.find_source(model)
        except (UnknownModel, ModelLoadError):
            return False

    @property
    def resident(self) -> Loaded | None:
        """The pipeline that is loaded, without waiting; None where none is."""
        return self._resident

    @property
    def device(self) -> str:
        """The device that models are loaded on; it imports torch. Raises `InvalidParams` for one that is not there."""
        return loading.pick_device(self._device)

    @property
    def dtype(self) -> str:
        """What models are loaded in, as it was asked: "auto", "fp32", "fp16" or "bf16"."""
        return self._dtype

    def close(self) -> None:
        """Free the resident pipeline, after the run in progress."""
        with self._lock:
            self._free()

    def pipeline(self, model: str) -> Any:
        """Return the diffusers pipeline of a model, loading it if it is not resident.

        Raises the typed errors of `diffatlas.backends.loading.load`.
        """
        if model in self._given:
            return self._given[model].pipe
        with self._lock:
            return self._load(model_info.find_source(model)).pipe

    def _source(self, params: GenerationParams) -> model_info.ModelSource:
        """Return the model that a request runs on: one that was handed in, or one of the registry or a folder."""
        model = self._model_of(params)
        return self._given[model].source if model in self._given else model_info.source_of(params)

    def _model_of(self, params: GenerationParams) -> str:
        unnamed = self._own_model is not None and params.model == GenerationParams.model
        return self._own_model if unnamed else params.model

    def _held(self, model: str) -> Loaded:
        """Return a pipeline that was handed in as it is now; while a run is on it, as it was before that."""
        return self._given[model] if self._running == model else self._look_again(model)

    def _look_again(self, model: str) -> Loaded:
        """Return a pipeline that was handed in, after somebody may have moved or changed it."""
        held = self._given[model]
        looked = replace(given.loaded_from(held.pipe, model), revision=revision_of(held.pipe))
        with self._naming:
            # Meanwhile another may have been given the name.
            if self._given.get(model) is held:
                self._given[model] = looked
        return looked

    def _work(self, params: GenerationParams, capture: Capture, put: Put, stopping: Stopping) -> None:
        """Wait for the device, load, run; every outcome becomes an event."""

        def run(loaded: Loaded, fitted: Sequence[GenerationParams]) -> None:
            self._run(loaded, fitted[0], capture, put, stopping)

        self._hold((params,), run, put, stopping)

    def _work_batch(
        self, cells: Sequence[GenerationParams], capture: Capture, put: Put, stopping: Stopping
    ) -> None:
        """Wait for the device, load, run all cells; every outcome becomes events."""
        ended: set[int] = set()

        def put_cell(item: tuple[int, events.Event]) -> None:
            if isinstance(item[1], (events.Finished, events.Failed)):
                ended.add(item[0])
            put(item)

        def put_to_all(event: events.Event) -> None:
            for i in range(len(cells)):
                if i not in ended:
                    put((i, event))

        def run(loaded: Loaded, fitted: Sequence[GenerationParams]) -> None:
            identities = [told.identity(loaded, cell, batched=True) for cell in fitted]
            batching.run_batch(loaded, fitted, capture, put_cell, stopping, identities, self._paces)

        self._hold(cells, run, put_to_all, stopping)

    def _hold(
        self,
        cells: Sequence[GenerationParams],
        run: Callable[[Loaded, Sequence[GenerationParams]], None],
        put: Put,
        stopping: Stopping,
    ) -> None:
        """Wait for the device, load the model of ``cells`` and ``run`` them; what ends them all is ``put``."""
        held = False
        params = cells[0]
        try:
            cells = [self.resolve(cell) for cell in cells]
            params = cells[0]
            source = self._source(params)
            while not held:
                if stopping():
                    raise Stopped
                held = self._lock.acquire(timeout=0.05)
            loaded = self._load(source)
            self._running = source.model
            with threads.fitting(denoisers(loaded.pipe)), ExitStack() as stack:
                give_up: Callable[[], None] = self._free
                if loaded.folder is None:
                    stack.enter_context(given.left_as_it_was(loaded.pipe))
                    give_up = given.not_as_it_was
                loaded = stack.enter_context(loras.applied(loaded, params.loras, give_up))
                cells = [told.fit(cell, loaded.parts, loaded.info) for cell in cells]
                run(tasks.on(loaded, cells[0]), cells)
        except Stopped:
            put(events.Finished(status="stopped", seconds=0.0))
        except Exception as error:
            typed = as_typed(error, params)
            log.debug("A run failed.", exc_info=error)
            put(as_event(typed))
        finally:
            if held:
                self._running = None
                self._lock.release()

    def _load(self, source: model_info.ModelSource) -> Loaded:
        """Return the pipeline that was handed in, or the resident one if it is this model's, else load it.

        The caller holds the device.
        """
        if source.model in self._given:
            return self._look_again(source.model)
        if self._resident and self._resident.source == source:
            return self._resident
        device = self.device
        self._free()
        if source.folder is None and source.entry and source.entry.mem and not self._ignore_memory:
            # Before gigabytes are fetched for nothing; exact once the files are here.
            loading.check_memory(source.entry.name, int(source.entry.mem * 1e9), loading.free_memory(device))
        folder = loading.fetch(source)
        dtype = loading.pick_dtype(self._dtype, device, source, folder)
        self._resident = loading.load(source, folder, device, dtype, ignore_memory=self._ignore_memory)
        return self._resident

    def _folder(self, source: model_info.ModelSource) -> Path | None:
        """Return where a model's files are on this machine, if they are."""
        resident = self._resident
        if resident is not None and resident.source == source:
            return resident.folder
        return loading.cached(source)

    def _free(self) -> None:
        device = self._resident.device if self._resident else None
        self._resident = None
        loading.release(device)

    def _run(
        self, loaded: Loaded, params: GenerationParams, capture: Capture, put: Put, stopping: Stopping
    ) -> None:
        """Call the pipeline once under `observe`, putting events as they happen."""
        from diffatlas.capture.observer import observe
        from diffatlas.steering.guided import steer_guidance
        from diffatlas.steering.methods import GuidancePlan
        from diffatlas.steering.noise import by_image, steer_noise

        pipe = loaded.pipe
        count = params.num_images_per_prompt
        arguments = call_arguments(loaded, params)
        own = pipe.scheduler
        scheduler = schedulers.build(own, params.scheduler)
        ran_on = loading.provenance(loaded, scheduler)
        if (identity := told.identity(loaded, params)) is not None:
            ran_on["identity"] = identity

        def on_start(trace: Any) -> None:
            put(
                events.Started(
                    run_id=new_run_id(),
                    params=params,
                    initial_latents=trace.initial_latents,
                    initial_sigma=trace.initial_sigma,
                    total_steps=trace.total_steps,
                    provenance=ran_on | trace.latent_provenance,
                    capture=capture.to_dict(),
                )
            )
            if stopping():
                raise Stopped

        def on_step(step: events.Step) -> None:
            check_finite(step)
            put(step if capture.latents else replace(step, latents=None, start_latents=None))
            if stopping():
                raise Stopped

        began = time.perf_counter()
        output = None
        pipe.scheduler = scheduler
        try:
            # Latents are always watched, so that NaN is noticed at the step where it appears.
            with ExitStack() as stack:
                stack.enter_context(steer_noise(pipe, by_image(params.noise, count)))
                watched = replace(capture, latents=True)
                trace = stack.enter_context(
                    observe(pipe, watched, on_start=on_start, on_step=on_step, keep=False)
                )
                plans = [GuidancePlan.of(params)] * count
                stack.enter_context(steer_guidance(pipe, plans, params.guidance_scale, trace))
                stack.enter_context(self._paces.watching(loaded, params, count, capture, stopping))
                output = pipe(**arguments)
        except Stopped:
            pass
        finally:
            pipe.scheduler = own
        seconds = time.perf_counter() - began
        if output is None or stopping():
            put(events.Finished("stopped", seconds, list(trace.cosine_to_end), dict(trace.missing)))
            return
        images = pictures_of(output)
        for index, pixels in enumerate(images):
            put(events.Image(index=index, pixels=pixels))
        for index, pixels in enumerate(images):
            check_light(index, pixels, loaded.dtype)
        put(events.Finished("complete", seconds, list(trace.cosine_to_end), dict(trace.missing)))
