"""One run as the viewer shows it: events in, a plain JSON value out.

The value only ever grows while a run lasts, because Gradio sends the difference to the last one:

    request    changes with every run
    status     idle, waiting, loading, running, complete, stopped or failed
    message    what is being done, while loading
    ahead      how many runs come first, while waiting
    prompt     what was asked
    cached     whether this is a stored run that was asked for again
    batch      {number, count} of several runs in sequence, or null
    metrics    what is measured: name, label, about, unit, absent; in the order of each step's metrics
    run        what `Started` told: the resolved parameters, the model, the device
    steps      a list of {index, timestep, sigma_before, sigma, metrics, preview, histogram}
    points     the path so far, x_T first: (n, 3) float32, little-endian, base64
    axes       explained variance ratio of the three axes, once the run has ended
    final      the metrics that only the end can tell, by step
    image      address of the final image
    notes      sentences: what the model does not read of the prompt; at the end also what could not be recorded and
               why, and before which steps the latents were changed
    totals     path length, chord, straightness, mean curvature, dimensions, seconds, once the run has ended
    layers     the visitor's layers, once the run has ended
    error      {field, message} or null
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

import numpy as np

from diffatlas.errors import DiffAtlasError
from diffatlas.events import Event, Failed, Finished, Image, SigmasBefore, Started, Step
from diffatlas.export import told
from diffatlas.export.wire import floats, rounded
from diffatlas.geometry.projection import LiveFrame
from diffatlas.ui.components.pictures import given_pictures, image_url
from diffatlas.ui.components.run_data import METRICS, final_fields, live_step, run_fields

IDLE: dict[str, Any] = {
    "request": "",
    "status": "idle",
    "message": "",
    "ahead": 0,
    "prompt": "",
    "cached": False,
    "batch": None,
    "metrics": [metric.to_dict() for metric in METRICS],
    "run": None,
    "steps": [],
    "points": "",
    "axes": None,
    "final": None,
    "image": None,
    "totals": None,
    "notes": [],
    "layers": None,
    "error": None,
}

#: The form field that shows the error of a parameter, where the names differ.
FORM_FIELDS = {"width": "size", "height": "size", "preview_decoder": "previews"}


NO_PATH = "The latents change their shape on the way, so there is no path to draw and no length of it."


class RunView:
    """Collects the events of one run. Each method returns the value to show now."""

    def __init__(
        self, prompt: str, model_name: str, visitor: str, batch: tuple[int, int] | None = None
    ) -> None:
        self._value = {**IDLE, "request": uuid.uuid4().hex[:8], "prompt": prompt}
        if batch:
            self._value["batch"] = {"number": batch[0], "count": batch[1]}
        self._model_name = model_name
        self._visitor = visitor
        self._steps: list[dict[str, Any]] = []
        self._levels = SigmasBefore(None)
        self._frame = LiveFrame(dimensions=3)
        self._unprojected: list[np.ndarray] = []
        self._path: list[np.ndarray] = []
        self._starts: list[np.ndarray | None] = []
        self._changed: list[int] = []
        self._unread: list[str] = []
        #: Whether all states so far are of one shape; otherwise they are no path.
        self._one_shape = True
        self._coords = np.zeros((0, 3))

    @property
    def status(self) -> str:
        """The status shown last."""
        return self._value["status"]

    @property
    def run_id(self) -> str | None:
        """The id of the run, once it has begun."""
        return self._value["run"] and self._value["run"]["id"]

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

    def ended(self, layers: list[dict[str, Any]]) -> dict[str, Any]:
        """The run is over, and these are the visitor's layers now."""
        self._set(layers=layers)
        return self.value()

    def add(self, event: Event) -> None:
        """Take in one event."""
        if isinstance(event, Started):
            self._observe(event.initial_latents)
            self._levels = SigmasBefore(event.initial_sigma)
            run = run_fields(event, self._model_name)
            self._unread = told.unread(event.provenance)
            cached = event.cached_from is not None
            self._set(status="running", run=run, cached=cached, notes=self._unread)
            if event.params.inputs:
                self._set(inputs=given_pictures(event.params, self._visitor))
        elif isinstance(event, Step):
            if event.start_latents is not None:
                self._one_shape &= event.start_latents.shape == event.latents.shape
            self._observe(event.latents)
            self._starts.append(None if event.start_latents is None else event.start_latents[:1])
            self._changed += told.changed_before([event])
            self._steps.append(live_step(event, self._levels.of(event.timestep, event.sigma)))
            run = self._value["run"]
            if len(self._steps) > run["total_steps"]:
                # The views of a panorama are steps that nobody planned.
                self._set(run={**run, "total_steps": len(self._steps)})
        elif isinstance(event, Image):
            if event.index == 0:
                self._set(image=image_url(event.pixels, self._visitor))
        elif isinstance(event, Finished):
            self._end(event.seconds, event.missing)
            self._set(status=event.status)
        elif isinstance(event, Failed):
            self._end(None, {})
            field = FORM_FIELDS.get(event.field, event.field)
            self._set(status="failed", error={"field": field, "message": event.message})

    def value(self) -> dict[str, Any]:
        """Return what to show now, as a new value: Gradio compares it with the one before."""
        if not self._one_shape:
            self._set(points="")
        elif self._unprojected:
            for state in self._unprojected:
                self._coords = self._frame.update(state)
            self._unprojected = []
            self._set(points=floats(self._coords))
        return {**self._value, "steps": list(self._steps)}

    def _set(self, **changes: Any) -> dict[str, Any]:
        self._value = {**self._value, **changes}
        return self._value

    def _observe(self, latents: np.ndarray) -> None:
        self._path.append(latents[:1])
        self._one_shape &= latents.shape[1:] == self._path[0].shape[1:]
        self._unprojected.append(latents[0])

    def _end(self, seconds: float | None, missing: Mapping[str, str]) -> None:
        """Turn from the live frame to the principal components of the whole path, and add what the end tells."""
        self.value()
        notes = self._unread + told.not_recorded({"missing": missing}) + told.changed(self._changed)
        self._set(notes=notes)
        if not self._one_shape:
            self._set(notes=[*self._value["notes"], NO_PATH])
        if len(self._path) < 2 or not self._one_shape:
            return
        whole = self._frame.finish()
        self._set(points=floats(whole.coords), axes=[rounded(r) for r in whole.explained_variance_ratio])
        ends = final_fields(np.stack(self._path), self._starts)
        ends["totals"]["seconds"] = None if seconds is None else rounded(seconds)
        self._set(**ends)
