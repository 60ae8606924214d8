"""What the measures read of the run of an image, each part once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from diffatlas import measured
from diffatlas.attention.held import Read
from diffatlas.attention.trace import AttentionTrace
from diffatlas.bench.why.attention import Looked, looked_at
from diffatlas.bench.why.case import Case
from diffatlas.errors import CapabilityError, DamagedRun, InvalidParams, RunNotFound
from diffatlas.library import StoredRun
from diffatlas.library.attended import attention_of
from diffatlas.params import GenerationParams
from diffatlas.run import Run

NO_ATTENTION = "Its run holds no attention to words: keep that too where the bench is run."


@dataclass(frozen=True)
class Reading:
    """What is read of the run of a case, each part once and when it is asked for."""

    case: Case

    @cached_property
    def params(self) -> GenerationParams | None:
        """What was asked; None where that cannot be read."""
        return _or_none(lambda: self.case.run.params)

    @cached_property
    def unseen(self) -> str | None:
        """Why nothing is known of how its image came about; None where something is."""
        return measured.unseen(_or_none(lambda: self.case.run.provenance) or {})

    @cached_property
    def guidance_angles(self) -> list[tuple[int, float]]:
        """(step from 1, degrees) of every step whose guidance angle is known."""
        steps = self._run.steps
        found = [state.metrics["guidance_angle"] for state in measured.states(self._run, self._path)[1:]]
        return [
            (step.index + 1, float(value))
            for step, value in zip(steps, found, strict=True)
            if measured.finite(value) is not None
        ]

    @cached_property
    def totals(self) -> dict[str, float | int | None]:
        """`diffatlas.measured.totals` of its path."""
        return measured.totals(self._run, self._path)

    @cached_property
    def estimates(self) -> np.ndarray | None:
        """What the model took the clean latents for at each step, (T, ...); None where that was not kept."""
        run = self.case.run
        if isinstance(run, StoredRun):
            found = _or_none(lambda: [run.step(k).x0_pred for k in range(run.step_count)])
        else:
            found = [step.x0_pred for step in run.steps]
        if not found or any(one is None for one in found) or len({one.shape[1:] for one in found}) > 1:
            return None
        return np.stack([one[0] for one in found])

    @cached_property
    def picture(self) -> np.ndarray | None:
        """The final image, (H, W, 3) uint8; None where there is none."""
        run = self.case.run
        images = _or_none(run.images) if isinstance(run, StoredRun) else run.images
        return images[0] if images else None

    @cached_property
    def attention(self) -> AttentionTrace | str:
        """Its attention, or why there is none."""
        run = self.case.run
        if self.unseen:
            return self.unseen
        try:
            found = attention_of(run) if isinstance(run, StoredRun) else AttentionTrace.of(run)
        except CapabilityError:
            return NO_ATTENTION
        except (DamagedRun, RunNotFound) as error:
            return error.message
        if not found.cross_layers:
            return NO_ATTENTION
        return replace(found, read=_a_step_at_once(run, found)) if isinstance(run, StoredRun) else found

    @cached_property
    def looked(self) -> Looked | str:
        """Where it looked for the objects of its task, or why that is not known."""
        return (
            self.attention if isinstance(self.attention, str) else looked_at(self.case.task, self.attention)
        )

    @cached_property
    def _run(self) -> Run:
        run = self.case.run
        return run.measured() if isinstance(run, StoredRun) else run

    @cached_property
    def _path(self) -> np.ndarray | None:
        return measured.first_path(self._run)


def _a_step_at_once(run: StoredRun, trace: AttentionTrace) -> Read:
    """Return what reads the maps of a run, all layers of a step from its file together."""
    layers = [layer.key for layer in trace.cross_layers]
    held: dict[int, dict[str, np.ndarray]] = {}

    def read(step: int, key: str) -> np.ndarray:
        if step not in held:
            held.clear()
            held[step] = run.attention(step, [one for one in layers if trace.holds(step, one)])
        return held[step][key]

    return read


def _or_none(read: Callable[[], Any]) -> Any:
    try:
        return read()
    except (CapabilityError, DamagedRun, InvalidParams, RunNotFound):
        return None
