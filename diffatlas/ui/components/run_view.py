"""One run as the viewer shows it: events in, a plain JSON value out.

The value only ever grows while a run lasts. Gradio sends a program the difference to the last one; the page asks for
what is new to it (`RunView.news`):

    request    changes with every run
    status     idle, waiting, loading, running, complete, stopped or failed
    message    what is being done, while loading, or while a hosted run waits
    until      seconds until a hosted run goes on by itself, where somebody knows, or null
    ahead      how many runs come first, while waiting
    wait       how long that should take, in words, where it is known
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

import threading
import uuid
from collections.abc import Mapping
from typing import Any

import numpy as np

from diffatlas.errors import DiffAtlasError, HostedError
from diffatlas.events import Event, Failed, Finished, Image, SigmasBefore, Started, Step, Waiting
from diffatlas.formats import told
from diffatlas.formats.broken import broken
from diffatlas.formats.wire import floats, rounded
from diffatlas.geometry.broken import first_broken
from diffatlas.geometry.projection import LiveFrame
from diffatlas.measured import SHOWN
from diffatlas.ui.components.pictures import given_pictures, image_url
from diffatlas.ui.components.run_data import final_fields, hosted_fields, live_step, run_fields
from diffatlas.ui.turns import Place, about

IDLE: dict[str, Any] = {
    "request": "",
    "status": "idle",
    "message": "",
    "until": None,
    "ahead": 0,
    "wait": "",
    "prompt": "",
    "cached": False,
    "batch": None,
    "metrics": [metric.to_dict() for metric in SHOWN],
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

#: What a page is told of a run that it then asks for.
BRIEF = ("request", "status")
#: What grows with every step, and is sent apart.
GROWING = ("steps", "points")
ENDED = ("complete", "stopped", "failed")

#: The form field that shows the error of a parameter, where the names differ.
FORM_FIELDS = {"width": "size", "height": "size", "preview_decoder": "previews", "key": "backend"}


#: The codes of the errors of providers that are no field's.
_OF_PROVIDERS = frozenset(error.code for error in (HostedError, *HostedError.__subclasses__()))

NO_PATH = "The latents change their shape on the way, so there is no path to draw and no length of it."


def field_of(event: Failed) -> str | None:
    """Return the field of a form at which an error is shown: what a provider refused is said at the backend."""
    if event.field is None and event.code in _OF_PROVIDERS:
        return "backend"
    return FORM_FIELDS.get(event.field, event.field)


class RunView:
    """Collects the events of one run. Each method returns the value to show now."""

    def __init__(
        self, prompt: str, model_name: str, visitor: str, batch: tuple[int, int] | None = None
    ) -> None:
        # Whoever knows the name of the request may follow it.
        self._value = {**IDLE, "request": uuid.uuid4().hex, "prompt": prompt}
        if batch:
            self._value["batch"] = {"number": batch[0], "count": batch[1]}
        #: The value, how often it has changed, and with which change each field came to be what it is.
        self._told: tuple[dict[str, Any], int, dict[str, int]] = self._value, 1, dict.fromkeys(self._value, 1)
        self._changing, self._placing = threading.Lock(), threading.Lock()
        self._model_name = model_name
        self._visitor = visitor
        self._steps: list[dict[str, Any]] = []
        self._levels = SigmasBefore(None)
        self._frame = LiveFrame(dimensions=3)
        self._placed = 0
        self._path: list[np.ndarray] = []
        self._starts: list[np.ndarray | None] = []
        self._changed: list[int] = []
        self._provenance: Mapping[str, Any] = {}
        self._states = 0
        #: The first state that is no numbers, of any image of the batch.
        self._broken: int | None = None
        self._images: list[np.ndarray] = []
        self._unread: list[str] = []
        #: Whether all states so far are of one shape; otherwise they are no path.
        self._one_shape = True

    @property
    def request(self) -> str:
        """The name of what was asked, which nobody can guess."""
        return self._value["request"]

    @property
    def visitor(self) -> str:
        """Whose run it is."""
        return self._visitor

    @property
    def status(self) -> str:
        """The status shown last."""
        return self._value["status"]

    @property
    def run_id(self) -> str | None:
        """The id of the run, once it has begun."""
        return self._value["run"] and self._value["run"]["id"]

    def waiting(self, place: Place) -> dict[str, Any]:
        """Other runs come first."""
        wait = "" if place.seconds is None else about(place.seconds)
        return self._set(status="waiting", ahead=place.ahead, wait=wait)

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
            if event.initial_latents is not None:
                self._observe(event.initial_latents)
            self._levels = SigmasBefore(event.initial_sigma)
            run = run_fields(event, self._model_name)
            self._unread = told.unread(event.provenance)
            self._provenance = event.provenance
            cached = event.cached_from is not None
            self._set(status="running", run=run, cached=cached, notes=self._unread)
            if run["hosted"] is None:
                self._goes_on()
            if event.params.inputs:
                self._set(inputs=given_pictures(event.params, self._visitor))
        elif isinstance(event, Step):
            self._goes_on()
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
            self._images.append(event.pixels)
            if event.index == 0:
                self._set(image=image_url(event.pixels, self._visitor))
        elif isinstance(event, Waiting):
            self._set(message=event.message, until=None if event.seconds is None else rounded(event.seconds))
        elif isinstance(event, Finished):
            self._end(event.seconds, event.missing)
            self._told_by_provider(event)
            self._set(status=event.status, message="", until=None)
        elif isinstance(event, Failed):
            self._end(None, {})
            field = field_of(event)
            self._set(status="failed", error={"field": field, "message": event.message})

    def _goes_on(self) -> None:
        """Nothing is waited for any more."""
        if self._value["message"]:
            self._set(message="", until=None)

    def _told_by_provider(self, event: Finished) -> None:
        """Take in what a provider has said of the run by its end."""
        run = self._value["run"]
        if run is not None and run["hosted"] is not None:
            self._provenance = {**self._provenance, **event.provenance}
            self._set(run={**run, "hosted": hosted_fields(self._provenance)})

    def value(self) -> dict[str, Any]:
        """Return what to show now, as a new value: Gradio compares it with the one before."""
        if self.status not in ENDED:
            self._place()
        return {**self._value, "steps": list(self._steps)}

    def brief(self) -> dict[str, Any]:
        """Return what tells a page that there is something to ask for: request, status and number of changes."""
        value, changes, _ = self._told
        return {**{name: value[name] for name in BRIEF}, "changes": changes}

    def news(self, changes: int, steps: int, points: int | None) -> dict[str, Any]:
        """Return what is new to one who knows the value as it was after so many ``changes``, with so many ``steps``.

        That is {changes, fields: those that have changed, from: a number of steps, steps: those after them, placed: the
        number of points}. points: how many of the path are known; None where nobody looks at it, which leaves it out
        until the run has ended.
        """
        made = len(self._steps)
        if points is not None and self.status not in ENDED:
            self._place()
        value, now, since = self._told
        fields = {name: value[name] for name in value if since[name] > changes and name not in GROWING}
        if value["status"] in ENDED:
            made = len(self._steps)
            if since["points"] > changes:
                fields["points"] = value["points"]
        elif points is not None and points != self._placed:
            fields["points"] = value["points"]
        news = {"changes": now, "fields": fields, "from": steps, "steps": self._steps[steps:made]}
        return {**news, "placed": self._placed if "points" in fields else points}

    def is_news(self, changes: int, steps: int, points: int | None) -> bool:
        """Whether `news` has anything to tell."""
        pointed = points is not None and len(self._path) > points and self.status not in ENDED
        return self._told[1] > changes or len(self._steps) > steps or pointed

    def _place(self) -> None:
        """Bring the drawn path up to the last state."""
        with self._placing:
            if self._gather() > self._placed:
                self._placed = len(self._frame)
                self._set(points=floats(self._frame.view()))

    def _gather(self) -> int:
        """Give the frame the states that it has not, and return how many it has: none where they are no path."""
        if not self._one_shape or self._broken is not None:
            if self._value["points"]:
                self._set(points="")
            return 0
        for state in self._path[len(self._frame) :]:
            self._frame.add(state[0])
        return len(self._frame)

    def _set(self, **changes: Any) -> dict[str, Any]:
        with self._changing:
            value, count, since = self._told
            self._value = {**value, **changes}
            self._told = self._value, count + 1, {**since, **dict.fromkeys(changes, count + 1)}
            return self._value

    def _observe(self, latents: np.ndarray) -> None:
        if self._broken is None and first_broken([latents]) is not None:
            self._broken = self._states
        self._states += 1
        self._one_shape &= not self._path or latents.shape[1:] == self._path[0].shape[1:]
        self._path.append(latents[:1])

    def _end(self, seconds: float | None, missing: Mapping[str, str]) -> None:
        """Add what the end tells, and let go of the latents: a view is remembered for a while."""
        if self._path:
            self._conclude(seconds, missing)
        with self._placing:
            self._path, self._starts, self._frame = [], [], LiveFrame(dimensions=3)

    def _conclude(self, seconds: float | None, missing: Mapping[str, str]) -> None:
        """Turn from the live frame to the principal components of the whole path, and measure it."""
        notes = self._unread + told.not_recorded({"missing": missing}) + told.changed(self._changed)
        notes += broken(self._broken, self._images, self._provenance)
        self._set(notes=notes)
        if not self._one_shape:
            self._set(notes=[*self._value["notes"], NO_PATH])
        if self._broken is not None:
            self._set(points="")
            return
        with self._placing:
            self._placed = self._gather()
            if self._placed < 2:
                self._set(points=floats(self._frame.view()) if self._placed else "")
                return
            whole = self._frame.finish()
            self._set(points=floats(whole.coords), axes=[rounded(r) for r in whole.explained_variance_ratio])
        ends = final_fields(np.stack(self._path), self._starts)
        ends["totals"]["seconds"] = None if seconds is None else rounded(seconds)
        self._set(**ends)
