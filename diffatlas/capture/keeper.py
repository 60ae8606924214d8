"""Makes a run of each call that is observed, as the events that a backend would send."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from diffatlas.capture.asked import Asked, asked_of
from diffatlas.capture.calls import call_parameters
from diffatlas.capture.digest import stamp_of
from diffatlas.capture.latent_grid import image_size
from diffatlas.capture.ran_on import in_memory, name_of, place_of, revision_of
from diffatlas.capture.spec import Capture
from diffatlas.capture.trace import Trace
from diffatlas.errors import BackendFailure, CapabilityError, DiffAtlasError
from diffatlas.events import Event, Failed, Finished, Image, Started, Step
from diffatlas.params import GenerationParams
from diffatlas.run import Run, extend, new_run_id, with_cosine_to_end

#: What is said of a loop of somebody's own, which has no call with arguments.
_NO_CALL = (
    "The steps were made by a loop of its own, without a call of the pipeline that says what was asked."
)

_CHANGED = "The pipeline was changed between the call and the moment at which its run was asked for."
_DREW = "Beside its generator the call drew from torch's own random numbers: the same request may give another image."


class Keeper:
    """What is known of the last call besides its steps; every event of it is given to ``send`` as it happens."""

    def __init__(
        self, pipe: Any, capture: Capture, name: str | None, send: Callable[[Event], None] | None
    ) -> None:
        self._pipe, self._capture = pipe, capture
        self._name = name or name_of(pipe)
        self._send = send or (lambda event: None)
        #: Whether the digest of the pipeline is needed while it runs, or only where the run is asked for.
        self._at_once = send is not None
        self.forget()

    def forget(self) -> None:
        """Begin anew: nothing is known of the call to come."""
        self._asked: Asked | None = None
        #: By which a change of the weights is noticed, until their digest is taken.
        self._stamp: int | None = None
        self._ran_on: dict[str, Any] | None = None
        self._started: Started | None = None
        self._images: tuple[np.ndarray, ...] = ()
        self._end: Finished | Failed | None = None
        #: What the run lacks, and why, besides what the trace lacks.
        self._missing: dict[str, str] = {}
        #: torch's own, before a call that was given a generator.
        self._random_state: Any = None
        self._began = time.perf_counter()

    def begin(self, pipe: Any, args: tuple, kwargs: Mapping[str, Any]) -> None:
        """Look at a call before it runs."""
        import torch

        parameters = call_parameters(type(pipe))
        signature = inspect.Signature(list(parameters.values()))
        given = dict(signature.bind_partial(*args, **kwargs).arguments)
        for parameter in parameters.values():
            if parameter.kind is inspect.Parameter.VAR_KEYWORD:
                given |= given.pop(parameter.name, {})
        self._asked = asked_of(parameters, given, self._name, place_of(pipe)[0])
        self._ran_on = in_memory(pipe, self._name, pinned=None if self._at_once else {})
        self._stamp = None if self._at_once else stamp_of(pipe)
        drawn = self._asked.params.seed is not None and given.get("generator") is not None
        self._random_state = torch.get_rng_state() if drawn else None
        self._began = time.perf_counter()

    def started(self, trace: Trace) -> None:
        """Take in the first step, before it is made."""
        nothing = GenerationParams(model=self._name, seed=None, num_inference_steps=trace.total_steps or 1)
        why = trace.missing.get("call", _NO_CALL)
        asked = self._asked or Asked(nothing.replace(guidance_scale=1.0), {"call": why})
        if self._ran_on is None:
            self._ran_on = in_memory(self._pipe, self._name)
        ran_on = self._ran_on
        params = asked.params
        if params.width is None or params.height is None:
            width, height = None, None
            if trace.initial_latents is not None:
                width, height = image_size(self._pipe, trace.initial_latents, trace.latent_provenance)
            params = params.replace(width=params.width or width, height=params.height or height)
        call = {"left_out": dict(asked.left_out)} if asked.left_out else {}
        self._started = Started(
            run_id=new_run_id(),
            params=params.replace(scheduler=ran_on["scheduler"]["class"]),
            initial_latents=trace.initial_latents,
            initial_sigma=trace.initial_sigma,
            total_steps=trace.total_steps,
            provenance={**ran_on, "call": call, **trace.latent_provenance},
            capture=self._capture.to_dict(),
        )
        self._send(self._started)

    def step(self, step: Step) -> None:
        """Take in a step."""
        self._send(step)

    def finished(self, trace: Trace, result: Any) -> None:
        """Take in the end of a call that came through; ``result`` is what it returned."""
        import torch

        if self._started is None:
            return
        seconds = time.perf_counter() - self._began
        if self._random_state is not None and not self._random_state.equal(torch.get_rng_state()):
            self._missing["random_state"] = _DREW
        try:
            self._images = pictures_of(result)
        except CapabilityError as error:
            self._missing["images"] = error.message
        for index, pixels in enumerate(self._images):
            self._send(Image(index=index, pixels=pixels))
        stopped = bool(getattr(self._pipe, "_interrupt", False))
        self._finish("stopped" if stopped else "complete", trace, seconds)

    def failed(self, trace: Trace, error: BaseException) -> None:
        """Take in the end of a call that raised: it failed, or was stopped by Ctrl-C and its like."""
        if self._started is None:
            return
        seconds = time.perf_counter() - self._began
        if not isinstance(error, Exception):
            self._finish("stopped", trace, seconds)
            return
        if isinstance(error, DiffAtlasError):
            self._end = Failed(error.code, error.message, error.field)
        else:
            lines = str(error).strip().splitlines()
            what = f"{type(error).__name__}: {(lines[0] if lines else 'no message').rstrip('.')[:300]}"
            self._end = Failed(BackendFailure.code, f"The pipeline failed with {what}.")
        self._send(self._end)

    def left(self, trace: Trace) -> None:
        """Take in the end of the context: a loop of somebody's own ends with it."""
        if self._started is not None and self._end is None:
            whole = len(trace.steps) >= (trace.total_steps or 1)
            self._finish("complete" if whole else "stopped", trace, time.perf_counter() - self._began)

    def run(self, trace: Trace) -> Run:
        """Return the call as a run. Raises `CapabilityError` where there was none."""
        if self._started is None:
            raise CapabilityError(
                trace.missing.get("steps")
                or "This trace is of no call yet: call the pipeline inside the context of `observe`."
            )
        self._pin()
        run = extend(None, self._started)
        seconds = self._end.seconds if isinstance(self._end, Finished) else None
        error = None
        if isinstance(self._end, Failed):
            error = {"code": self._end.code, "message": self._end.message, "field": self._end.field}
        status = "running" if self._end is None else "failed" if error else self._end.status
        missing = {**trace.missing, **self._missing}
        return Run(
            id=run.id,
            params=run.params,
            status=status,
            created=self._started.provenance["started"],
            initial_latents=run.initial_latents,
            initial_sigma=run.initial_sigma,
            total_steps=trace.total_steps,
            steps=with_cosine_to_end(tuple(trace.steps), list(trace.cosine_to_end)),
            images=self._images,
            seconds=seconds,
            provenance={**run.provenance, **trace.latent_provenance}
            | ({"missing": missing} if missing else {}),
            capture=run.capture,
            error=error,
        )

    def _pin(self) -> None:
        """Put the digest of the pipeline into what the run ran on, where it has not been taken yet."""
        if self._stamp is None:
            return
        same = self._stamp == stamp_of(self._pipe)
        pinned = revision_of(self._pipe) if same else {"no_digest": _CHANGED}
        self._stamp = None
        self._started = replace(self._started, provenance={**self._started.provenance, "revision": pinned})

    def _finish(self, status: str, trace: Trace, seconds: float) -> None:
        self._end = Finished(status, seconds, list(trace.cosine_to_end), {**trace.missing, **self._missing})
        self._send(self._end)


def pictures_of(result: Any) -> tuple[np.ndarray, ...]:
    """Return the pictures (H, W, 3), uint8, in what a pipeline's call returned.

    Raises `CapabilityError` where it returned something else (latents).
    """
    found = getattr(result, "images", getattr(result, "rgb", None))
    if found is None and isinstance(result, (tuple, list)) and result:
        found = result[0]
    if hasattr(found, "detach"):
        found = found.detach().float().cpu().numpy()
        found = found.transpose(0, 2, 3, 1) if found.ndim == 4 else found
    if isinstance(found, np.ndarray):
        if found.ndim == 4 and found.shape[-1] in (1, 3) and np.issubdtype(found.dtype, np.floating):
            levels = np.round(np.nan_to_num(found).clip(0, 1) * 255).astype(np.uint8)
            return tuple(np.repeat(one, 3, -1) if one.shape[-1] == 1 else one for one in levels)
        found = None
    if isinstance(found, (list, tuple)) and found and all(hasattr(one, "convert") for one in found):
        return tuple(np.asarray(one.convert("RGB")) for one in found)
    raise CapabilityError("The call returned no pictures, so the run has none.")
