"""Several runs in one pipeline call, each with its own seed, guidance and noise."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import numpy as np

from diffatlas import events
from diffatlas.backends import failures, loading, schedulers
from diffatlas.backends.call import call_arguments
from diffatlas.backends.loading import Loaded
from diffatlas.backends.outcome import Stopped, check_finite, check_light
from diffatlas.backends.paces import Paces
from diffatlas.backends.producer import Put, Stopping
from diffatlas.capture.keeper import pictures_of
from diffatlas.capture.spec import Capture
from diffatlas.errors import CapabilityError, DiffAtlasError, InvalidParams
from diffatlas.geometry import path
from diffatlas.params import GenerationParams
from diffatlas.run import new_run_id

#: What the cells of a batch may differ in.
PER_SAMPLE = ("seed", "guidance_scale", "guidance_method", "guidance_options", "noise")

#: The arrays of a step that have a row for each sample.
_BY_SAMPLE = (
    "latents",
    "noise_pred",
    "cond_pred",
    "uncond_pred",
    "x0_pred",
    "preview",
    "start_latents",
)


def check_cells(cells: Sequence[GenerationParams]) -> None:
    """Raise `InvalidParams` for cells that cannot share a pipeline call (`PER_SAMPLE`), or for none at all."""
    if not cells:
        raise InvalidParams("A batch needs at least one cell.")
    first = cells[0].to_dict()
    for cell in cells:
        cell.validate()
        if cell.num_images_per_prompt != 1:
            raise InvalidParams(
                "A cell of a batch makes one image: ask for more cells.", field="num_images_per_prompt"
            )
        other = cell.to_dict()
        for name in {**first, **other}:
            if name not in PER_SAMPLE and first.get(name) != other.get(name):
                raise InvalidParams(
                    f"The cells of a batch differ in {name} ({first.get(name)!r} and {other.get(name)!r}): only "
                    f"{', '.join(PER_SAMPLE)} may differ.",
                    field=name,
                )


def run_batch(
    loaded: Loaded,
    cells: Sequence[GenerationParams],
    capture: Capture,
    put: Put,
    stopping: Stopping,
    identities: Sequence[dict[str, Any] | None],
    paces: Paces,
) -> None:
    """Call the pipeline once for all ``cells`` (resolved), putting (index, event) as they happen.

    identities: of each cell, as one of a batch. paces: where what the call takes is noted.

    A cell whose latents turn to NaN, or whose image is black, ends in a `Failed` of its own. What ends the whole call
    is raised, and is for the caller to put.
    """
    from diffatlas.capture.observer import observe
    from diffatlas.steering.guided import own_scale, steer_guidance
    from diffatlas.steering.methods import GuidancePlan
    from diffatlas.steering.noise import steer_noise

    if len(cells) > 1 and "num_images_per_prompt" not in loaded.call_parameters:
        raise CapabilityError(f"{loaded.info.name} makes one image at a time: run one by one.", field="batch")
    pipe = loaded.pipe
    plans = [GuidancePlan.of(cell) for cell in cells]
    scale = own_scale(plans)
    arguments = call_arguments(loaded, cells[0].replace(guidance_scale=scale), [cell.seed for cell in cells])
    own = pipe.scheduler
    scheduler = schedulers.build(own, cells[0].scheduler)
    ran_on = loading.provenance(loaded, scheduler)
    batch = _Batch(cells, capture, put, ran_on, identities)

    def on_start(trace: Any) -> None:
        batch.start(trace)
        if stopping():
            raise Stopped

    def on_step(step: events.Step) -> None:
        batch.step(step)
        if stopping() or not batch.open:
            raise Stopped

    # Latents are always watched; the metrics of each cell need its predictions.
    watched = replace(
        capture, latents=True, predictions=capture.predictions or capture.metrics, metrics=False
    )
    began = time.perf_counter()
    output = None
    pipe.scheduler = scheduler
    try:
        with ExitStack() as stack:
            stack.enter_context(steer_noise(pipe, [cell.noise for cell in cells]))
            trace = stack.enter_context(
                observe(pipe, watched, on_start=on_start, on_step=on_step, keep=False)
            )
            stack.enter_context(steer_guidance(pipe, plans, scale, trace))
            stack.enter_context(paces.watching(loaded, cells[0], len(cells), capture, stopping))
            output = pipe(**arguments)
    except Stopped:
        pass
    finally:
        pipe.scheduler = own
    seconds = time.perf_counter() - began
    if output is None or stopping():
        batch.stop(seconds, dict(trace.missing))
    else:
        batch.finish(pictures_of(output), seconds, loaded.dtype, dict(trace.missing))


class _Batch:
    """Turns the steps of one call into the events of its cells."""

    def __init__(
        self,
        cells: Sequence[GenerationParams],
        capture: Capture,
        put: Put,
        ran_on: dict[str, Any],
        identities: Sequence[dict[str, Any] | None],
    ) -> None:
        self._cells = cells
        self._capture = capture
        self._put = put
        self._ran_on = ran_on
        self._identities = identities
        #: Cells whose runs have not ended.
        self.open = set(range(len(cells)))
        #: The states of each cell, x_T first, (1, ...), for the metrics; of x_T and the last one also what the
        #: measures need.
        self._paths: list[list[np.ndarray]] = []
        self._first: list[path.State] = []
        self._last: list[path.State] = []

    def start(self, trace: Any) -> None:
        """Put `Started` for every cell."""
        size = len(self._cells)
        if len(trace.initial_latents) != size:
            raise CapabilityError(
                f"The pipeline makes {len(trace.initial_latents)} images of a batch of {size}: run one by one.",
                field="batch",
            )
        self._paths = [[trace.initial_latents[i : i + 1]] for i in range(size)]
        self._first = [path.State.of(states[0]) for states in self._paths]
        self._last = list(self._first)
        for i, cell in enumerate(self._cells):
            ran_on = self._ran_on | trace.latent_provenance | {"batch": {"size": size, "index": i}}
            if (identity := self._identities[i]) is not None:
                ran_on["identity"] = identity
            started = events.Started(
                run_id=new_run_id(),
                params=cell,
                initial_latents=self._paths[i][0],
                initial_sigma=trace.initial_sigma,
                total_steps=trace.total_steps,
                provenance=ran_on,
                capture=self._capture.to_dict(),
            )
            self._put((i, started))

    def step(self, step: events.Step) -> None:
        """Put each open cell's part of a step."""
        finite = np.isfinite(step.latents).reshape(len(step.latents), -1).all(axis=1)
        for i in sorted(self.open):
            own = self._own(step, i)
            if not finite[i]:
                try:
                    check_finite(replace(step, **own))
                except DiffAtlasError as error:
                    self._fail(i, error)
                continue
            if self._capture.metrics:
                own["metrics"] = self._metrics(own, i)
            self._put((i, replace(step, **self._thinned(own))))

    def _metrics(self, own: Mapping[str, Any], i: int) -> dict[str, float]:
        """Return the metrics of a cell's part of a step, and take its state in."""
        left, moved = self._last[i], own["start_latents"]
        after = path.State.of(own["latents"])
        self._paths[i].append(own["latents"])
        self._last[i] = after
        return path.step_metrics(
            after,
            left if moved is None else path.State.of(moved),
            self._first[i],
            own["cond_pred"],
            own["uncond_pred"],
            None if moved is None else left,
        )

    def stop(self, seconds: float, missing: dict[str, str]) -> None:
        """End the open cells as stopped."""
        for i in sorted(self.open):
            self._put((i, events.Finished("stopped", seconds, self._cosines(i), missing)))
        self.open.clear()

    def finish(
        self, images: Sequence[np.ndarray], seconds: float, dtype: str, missing: dict[str, str]
    ) -> None:
        """Put the images of the open cells, and end them."""
        for i in sorted(self.open):
            self._put((i, events.Image(index=0, pixels=images[i])))
            try:
                check_light(0, images[i], dtype)
            except DiffAtlasError as error:
                self._fail(i, error)
                continue
            self._put((i, events.Finished("complete", seconds, self._cosines(i), missing)))
        self.open.clear()

    def _fail(self, i: int, error: DiffAtlasError) -> None:
        self.open.discard(i)
        self._put((i, failures.as_event(error)))

    def _cosines(self, i: int) -> list[float]:
        return path.cosines_of_first(self._paths[i])[1:] if i < len(self._paths) else []

    def _own(self, step: events.Step, i: int) -> dict[str, Any]:
        """Return the fields of a step that are of sample ``i``, with a batch axis of 1."""

        def part(array: np.ndarray | None) -> np.ndarray | None:
            return None if array is None else np.ascontiguousarray(array[i : i + 1])

        own = {name: part(getattr(step, name)) for name in _BY_SAMPLE}
        own["other_preds"] = {name: part(array) for name, array in step.other_preds.items()}
        own["attention"] = self._own_attention(step, i)
        return own

    def _own_attention(self, step: events.Step, i: int) -> dict[str, np.ndarray] | None:
        if step.attention is None:
            return None
        both = self._capture.attention_halves == "both"
        row = (slice(None), slice(i, i + 1)) if both else (slice(i, i + 1),)
        return {name: np.ascontiguousarray(maps[row]) for name, maps in step.attention.items()}

    def _thinned(self, own: dict[str, Any]) -> dict[str, Any]:
        """Leave out what is only there for the metrics."""
        capture = self._capture
        if not capture.predictions:
            own |= {"noise_pred": None, "cond_pred": None, "uncond_pred": None, "other_preds": {}}
        return own if capture.latents else own | {"latents": None, "start_latents": None}
