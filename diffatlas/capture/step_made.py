"""Makes a `Step` of what was seen of it, once its tensors are on the CPU: x0, measures, previews."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from diffatlas.capture import preview, schedule
from diffatlas.capture.arrays import Sent
from diffatlas.capture.calls import split_batch
from diffatlas.capture.latent_grid import unpack
from diffatlas.capture.passes import Mixed, say_other_text
from diffatlas.capture.reasons import Reasons
from diffatlas.capture.spec import Capture
from diffatlas.capture.x0 import x0_from
from diffatlas.events import Step
from diffatlas.geometry import path
from diffatlas.run import with_cosine_to_end


@dataclass(frozen=True)
class Given:
    """What a step was made of, as it is known before it is made.

    timestep: None where it is no number. start: the state that it starts from; None where that is the very tensor
    that the step before returned. noise_pred: what the scheduler received, without a learned variance; None where
    nothing is made of it. factors: the `coefficients` of x0, where it is asked for and can be told.
    """

    index: int
    scheduler: Any
    timestep: float | None
    start: Sent | None
    noise_pred: Sent | None
    factors: tuple[float, float] | None
    mixed: Mixed


@dataclass(frozen=True)
class Seen:
    """A step that has been made by the scheduler. sigma: of ``latents``, the state after it. shown: previewed."""

    given: Given
    sigma: float | None
    latents: Sent
    shown: bool


class StepMaker:
    """Makes the steps of one call of a pipeline, in their order."""

    def __init__(self, pipe: Any, capture: Capture, reasons: Reasons) -> None:
        self._pipe, self._capture, self._reasons = pipe, capture, reasons
        self.forget()

    def forget(self) -> None:
        """Forget the call before."""
        #: The state that the last step returned.
        self._last: np.ndarray | None = None
        #: For the metrics: first image of every recorded state, x_T first; of two of them what their measures need.
        self._path: list[np.ndarray] = []
        self._last_state: path.State | None = None
        self._first_state: path.State | None = None
        #: Scheduler and x0 of the last step, where it was not due a preview.
        self._not_shown: tuple[Any, np.ndarray] | None = None
        self._linear: preview.LinearMap | None = None
        self._grid: tuple[int, int] | None = None

    def begin(
        self, initial: np.ndarray, linear: preview.LinearMap | None, grid: tuple[int, int] | None
    ) -> None:
        """Take in x_T. linear: the map of the previews, where there are any. grid: of packed latents."""
        self._last, self._linear, self._grid = initial, linear, grid

    def make(self, seen: Seen) -> Step:
        """Return the step; waits for what of it is still on its way."""
        given, capture = seen.given, self._capture
        latents = seen.latents.array()
        before = self._last
        found = before if given.start is None else given.start.array()
        changed = given.start is not None and not _is_same(found, before)
        start = found if changed else before
        self._last = latents
        noise_pred = None if given.noise_pred is None else given.noise_pred.array()
        predictions = self._predictions(given.mixed, found.shape)
        x0 = None
        if given.factors is not None and noise_pred is not None:
            x0 = self._reasons.attempt("x0_pred", lambda: self._x0(given, found, noise_pred))
        metrics: dict[str, float] = {}
        if capture.metrics:
            metrics = self._metrics(latents, start, before if changed else None, predictions)
        pictures = self._pictures(given.scheduler, x0, seen.shown)
        if not all(bool(same.array()) for same in given.mixed.same_texts):
            say_other_text(self._reasons.missing, given.index)
        attention = self._reasons.attempt("attention", lambda: _arrived(given.mixed.attention))
        kept = predictions if capture.predictions else {}
        return Step(
            index=given.index,
            timestep=math.nan if given.timestep is None else given.timestep,
            sigma=seen.sigma,
            latents=latents if capture.latents else None,
            noise_pred=noise_pred if capture.predictions else None,
            cond_pred=kept.pop("cond", None),
            uncond_pred=kept.pop("uncond", None),
            x0_pred=x0 if capture.x0 else None,
            metrics=metrics,
            preview=pictures,
            x0_gain=given.factors[1] if capture.x0 and x0 is not None else None,
            attention=attention,
            start_latents=start if changed and capture.latents else None,
            other_preds=kept,
        )

    def end(self, steps: list[Step], cosines: list[float]) -> None:
        """Add to the steps what only the end of a call can tell."""
        if steps and self._not_shown is not None:
            scheduler, x0 = self._not_shown
            pictures = self._reasons.attempt("previews", lambda: self._preview(scheduler, x0))
            steps[-1] = replace(steps[-1], preview=pictures)
        if steps and self._path and not cosines:
            found = self._reasons.attempt("cosine_to_end", lambda: path.cosines_of_first(self._path)[1:])
            if found is not None:
                cosines[:] = found
                steps[:] = with_cosine_to_end(tuple(steps), cosines)
        # No tensor of a call that is over is kept alive.
        self._not_shown = None

    def _predictions(self, mixed: Mixed, shape: tuple[int, ...]) -> dict[str, np.ndarray]:
        """Return the predictions by their roles, each of the ``shape`` of the state."""
        passes: dict[int, list[np.ndarray]] = {}
        found = {}
        for name, (sent, part) in mixed.named.items():
            if id(sent) not in passes:
                passes[id(sent)] = split_batch(sent.array(), shape[0], shape)
            own = passes[id(sent)][part]
            found[name] = np.ascontiguousarray(own) if mixed.sign > 0 else -own
        return found

    def _x0(self, given: Given, start: np.ndarray, noise_pred: np.ndarray) -> np.ndarray:
        import torch

        state, prediction = torch.from_numpy(start), torch.from_numpy(noise_pred)
        return x0_from(given.scheduler, state, prediction, given.factors).numpy()

    def _metrics(
        self,
        latents: np.ndarray,
        start: np.ndarray,
        before: np.ndarray | None,
        predictions: dict[str, np.ndarray],
    ) -> dict[str, float]:
        if not self._path:
            self._path.append(start[:1])
            self._first_state = self._last_state = path.State.of(start)
        left = self._last_state
        after = path.State.of(latents)
        begun = left if before is None else path.State.of(start)
        moved = None if before is None else left
        self._path.append(latents[:1])
        self._last_state = after
        return path.step_metrics(
            after, begun, self._first_state, predictions.get("cond"), predictions.get("uncond"), moved
        )

    def _pictures(self, scheduler: Any, x0: np.ndarray | None, shown: bool) -> np.ndarray | None:
        self._not_shown = None
        if x0 is None or self._linear is None:
            return None
        if not shown:
            self._not_shown = scheduler, x0
            return None
        return self._reasons.attempt("previews", lambda: self._preview(scheduler, x0))

    def _preview(self, scheduler: Any, x0_pred: np.ndarray) -> np.ndarray:
        import torch

        scale = schedule.latent_scale(scheduler)
        x0 = torch.from_numpy(x0_pred if scale == 1 else x0_pred / np.float32(scale))
        if self._linear is preview.PIXELS:
            pictures = preview.PIXELS(x0.numpy())
        elif self._capture.preview_decoder == "linear":
            pictures = self._linear(unpack(self._pipe, x0, self._grid).numpy())
        else:
            pictures = preview.decode(self._pipe, unpack(self._pipe, x0, self._grid))
        size = self._capture.preview_size
        return pictures if size is None else preview.resize(pictures, size)


def _arrived(maps: Mapping[str, Any] | None) -> dict[str, np.ndarray] | None:
    """Return maps as arrays, of which each may still be on its way."""
    if maps is None:
        return None
    return {name: found.array() if hasattr(found, "array") else found for name, found in maps.items()}


def _is_same(state: np.ndarray, before: np.ndarray) -> bool:
    """Whether a state is that which the step before returned, maybe in another precision."""
    return state.shape == before.shape and np.array_equal(state, before.astype(state.dtype), equal_nan=True)
