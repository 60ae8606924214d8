"""A run: what was asked, what happened and what it ran on, collected from the stream of events."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from diffatlas.errors import CapabilityError, error_for
from diffatlas.events import Event, Failed, Finished, Image, Started, Step, Waiting, sigmas_before
from diffatlas.params import GenerationParams
from diffatlas.showing import show_html


@dataclass(frozen=True)
class Run:
    """One finished, stopped or failed run.

    ``status`` is "complete", "stopped", "failed", "running" for one that is still being written, or "partial"
    for one whose process died before it could say more.
    """

    id: str
    params: GenerationParams
    status: str
    created: str
    initial_latents: np.ndarray | None = None
    initial_sigma: float | None = None
    total_steps: int | None = None
    steps: tuple[Step, ...] = ()
    #: Final images, each (H, W, 3) uint8.
    images: tuple[np.ndarray, ...] = ()
    seconds: float | None = None
    provenance: dict[str, Any] = field(default_factory=dict)
    capture: dict[str, Any] = field(default_factory=dict)
    error: dict[str, Any] | None = None
    #: The stored run that this one was read from instead of running the model; its id is the same.
    cached_from: str | None = None

    @property
    def latents(self) -> np.ndarray:
        """The whole path, x_T first: (T + 1, B, ...).

        Raises `CapabilityError` where its states have several shapes (a pipeline that changes its size on the way).
        """
        states = [self.initial_latents, *(s.latents for s in self.steps)]
        if len({np.shape(x) for x in states}) > 1:
            raise CapabilityError("The states of this run have several shapes, so they are no one array.")
        return np.stack(states)

    @property
    def sigmas_before(self) -> list[float | None]:
        """The noise level at which the model was asked at each step, beside `Step.timestep`; None where unknown."""
        return sigmas_before(self.initial_sigma, ((step.timestep, step.sigma) for step in self.steps))

    def _repr_html_(self) -> str:
        return show_html(self, "run_html")

    def raise_for_error(self) -> Run:
        """Return self, or raise the typed error that ended the run."""
        if self.error:
            error = error_for(self.error["code"], self.error["message"])
            error.field = self.error.get("field")
            raise error
        return self


def new_run_id(now: datetime | None = None) -> str:
    """Return an id that sorts by time and is unique: 20260131-120000-1a2b3c4d."""
    now = now or datetime.now(UTC)
    return f"{now:%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:8]}"


def timestamp(now: datetime | None = None) -> str:
    """Return the time in UTC, ISO 8601, to the millisecond."""
    return (now or datetime.now(UTC)).isoformat(timespec="milliseconds")


def extend(run: Run | None, event: Event) -> Run:
    """Return the run with one more event in it; `Started` begins a new one. Raises ValueError before there is one."""
    if isinstance(event, Started):
        return Run(
            id=event.run_id,
            params=event.params,
            status="running",
            created=timestamp(),
            initial_latents=event.initial_latents,
            initial_sigma=event.initial_sigma,
            total_steps=event.total_steps,
            provenance=event.provenance,
            capture=event.capture,
            cached_from=event.cached_from,
        )
    if run is None:
        if isinstance(event, Failed):
            event_error = error_for(event.code, event.message)
            event_error.field = event.field
            raise event_error
        raise ValueError(f"A stream of events must begin with Started, not {event.kind}.")
    if isinstance(event, Step):
        return replace(run, steps=(*run.steps, event))
    if isinstance(event, Image):
        return replace(run, images=(*run.images, event.pixels))
    if isinstance(event, Waiting):
        return run
    if isinstance(event, Finished):
        missing = {"missing": dict(event.missing)} if event.missing else {}
        return replace(
            run,
            status=event.status,
            seconds=event.seconds,
            steps=with_cosine_to_end(run.steps, event.cosine_to_end),
            provenance={**run.provenance, **event.provenance, **missing},
        )
    return replace(
        run, status="failed", error={"code": event.code, "message": event.message, "field": event.field}
    )


def with_cosine_to_end(steps: tuple[Step, ...], cosines: list[float]) -> tuple[Step, ...]:
    """Return the steps with the metric that only the end of a run can tell."""
    if not cosines:
        return steps
    return tuple(
        replace(s, metrics={**s.metrics, "cosine_to_end": c}) for s, c in zip(steps, cosines, strict=True)
    )


def collect(events: Iterable[Event]) -> Run:
    """Drain a stream of events into a `Run`. An error before `Started` is raised; later ones are kept."""
    run: Run | None = None
    for event in events:
        if run is not None or not isinstance(event, Waiting):
            run = extend(run, event)
    if run is None:
        raise ValueError("The stream held no events.")
    return run
