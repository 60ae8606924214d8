"""One run as the viewer shows it: events in, a plain JSON value out.

The value only ever grows while a run lasts, because Gradio sends the difference to the last one:

    request    changes with every press of Run
    status     idle, waiting, loading, running, complete, stopped or failed
    message    what is being done, while loading
    ahead      how many runs come first, while waiting
    prompt     what was asked
    metrics    what is measured, in the order of each step's metrics
    run        what `Started` told: the resolved parameters, the model, the device
    steps      a list of {index, timestep, sigma, metrics, preview}
    points     the path so far, x_T first: (n, 3) float32, little-endian, base64
    axes       explained variance ratio of the three axes, once the run has ended
    image      address of the final image
    totals     path length, straightness, seconds, once the run has ended
    error      {field, message} or null
"""

from __future__ import annotations

import base64
import math
import uuid
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from diffatlas.errors import DiffAtlasError
from diffatlas.events import Event, Failed, Finished, Image, Started, Step
from diffatlas.geometry import path as measures
from diffatlas.geometry.projection import LiveFrame
from diffatlas.ui.components.pictures import image_url, preview_uri

DIGITS = 6


@dataclass(frozen=True)
class Metric:
    """A curve: the name in `Step.metrics`, its label, its unit, what it says, what to say where it is absent."""

    name: str
    label: str
    about: str
    unit: str = ""
    absent: str = "Not measured in this run."


NO_GUIDANCE = "Guidance was off: its scale was at most 1."
METRICS = (
    Metric("norm", "Norm of the latents", "How far the state lies from zero."),
    Metric("std", "Spread of the latents", "The standard deviation over all latent values."),
    Metric("step_length", "Step length", "How far one step moves the state."),
    Metric("cosine_to_start", "Cosine to the start", "1 while the state still points where the noise did."),
    Metric(
        "guidance_norm",
        "Norm of the guidance",
        "How much the prompt changes the prediction.",
        "",
        NO_GUIDANCE,
    ),
    Metric(
        "guidance_angle",
        "Angle of the guidance",
        "Between guidance and the conditional prediction.",
        "°",
        NO_GUIDANCE,
    ),
)

IDLE: dict[str, Any] = {
    "request": "",
    "status": "idle",
    "message": "",
    "ahead": 0,
    "prompt": "",
    "metrics": [asdict(metric) for metric in METRICS],
    "run": None,
    "steps": [],
    "points": "",
    "axes": None,
    "image": None,
    "totals": None,
    "error": None,
}

#: The form field that shows the error of a parameter, where the names differ.
FORM_FIELDS = {"width": "size", "height": "size", "preview_decoder": "previews"}


class RunView:
    """Collects the events of one run. Each method returns the value to show now."""

    def __init__(self, prompt: str, model_name: str) -> None:
        self._value = {**IDLE, "request": uuid.uuid4().hex[:8], "prompt": prompt}
        self._model_name = model_name
        self._steps: list[dict[str, Any]] = []
        self._frame = LiveFrame(dimensions=3)
        self._unprojected: list[np.ndarray] = []
        self._path: list[np.ndarray] = []
        self._coords = np.zeros((0, 3))

    @property
    def status(self) -> str:
        """The status shown last."""
        return self._value["status"]

    def waiting(self, ahead: int) -> dict[str, Any]:
        """Other runs come first."""
        return self._set(status="waiting", ahead=ahead)

    def loading(self, message: str) -> dict[str, Any]:
        """The model is being made ready."""
        return self._set(status="loading", message=message)

    def failed(self, error: DiffAtlasError) -> dict[str, Any]:
        """The run could not go on; what arrived before stays."""
        self.add(Failed(error.code, error.message, error.field))
        return self.value()

    def add(self, event: Event) -> None:
        """Take in one event."""
        if isinstance(event, Started):
            self._observe(event.initial_latents)
            self._set(status="running", run=_run(event, self._model_name))
        elif isinstance(event, Step):
            self._observe(event.latents)
            self._steps.append(_step(event))
        elif isinstance(event, Image):
            if event.index == 0:
                self._set(image=image_url(event.pixels))
        elif isinstance(event, Finished):
            self._end()
            self._set(status=event.status, totals=self._totals(event.seconds))
        elif isinstance(event, Failed):
            self._end()
            field = FORM_FIELDS.get(event.field, event.field)
            self._set(
                status="failed", totals=self._totals(None), error={"field": field, "message": event.message}
            )

    def value(self) -> dict[str, Any]:
        """Return what to show now, as a new value: Gradio compares it with the one before."""
        if self._unprojected:
            for state in self._unprojected:
                self._coords = self._frame.update(state)
            self._unprojected = []
            self._set(points=_base64(self._coords))
        return {**self._value, "steps": list(self._steps)}

    def _set(self, **changes: Any) -> dict[str, Any]:
        self._value = {**self._value, **changes}
        return self._value

    def _observe(self, latents: np.ndarray) -> None:
        self._path.append(latents[:1])
        self._unprojected.append(latents[0])

    def _end(self) -> None:
        """Turn from the live frame to the principal components of the whole path."""
        self.value()
        if len(self._path) > 1:
            whole = self._frame.finish()
            self._set(points=_base64(whole.coords), axes=[_round(r) for r in whole.explained_variance_ratio])

    def _totals(self, seconds: float | None) -> dict[str, float | None] | None:
        if len(self._path) < 2:
            return None
        path = np.stack(self._path)
        return {
            "path_length": _round(measures.path_length(path)[0]),
            "straightness": _round(measures.straightness(path)[0]),
            "seconds": None if seconds is None else _round(seconds),
        }


def _run(event: Started, model_name: str) -> dict[str, Any]:
    return {
        **event.params.to_dict(),
        "id": event.run_id,
        "model_name": model_name,
        "device": str(event.provenance.get("device", "unknown")),
        "initial_sigma": _round(event.initial_sigma),
        "total_steps": event.total_steps,
        # The norm of x_T: known from the start, it fixes the scale of the 3D view.
        "scale": _round(measures.norm(event.initial_latents[:1])[0]),
    }


def _step(event: Step) -> dict[str, Any]:
    return {
        "index": event.index,
        "timestep": _round(event.timestep),
        "sigma": _round(event.sigma),
        "metrics": [_round(event.metrics.get(metric.name)) for metric in METRICS],
        "preview": None if event.preview is None else preview_uri(event.preview[0]),
    }


def _round(value: float | None) -> float | None:
    """Six significant digits are what a curve can show; JSON has no NaN or infinity."""
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.{DIGITS}g}")


def _base64(coords: np.ndarray) -> str:
    return base64.b64encode(coords.astype("<f4").tobytes()).decode()
