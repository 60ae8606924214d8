"""A run that is made a second time because its worker ended: it goes on where the first one broke off.

Diffusion is deterministic: the same request on the same software makes the same numbers. So what has arrived is not
sent again but compared, and where it differs the run fails, because its steps would be of two different runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from diffatlas.errors import WorkerLost
from diffatlas.events import Event, Failed, Finished, Image, Started, Step


class Arrived:
    """What has arrived of one run, over all the times that it is made."""

    def __init__(self) -> None:
        self._started: Started | None = None
        self._step: Step | None = None
        self._steps = 0
        self._images: list[Image] = []
        #: Whether it has come to its end.
        self.ended = False
        self._begin_again()

    def _begin_again(self) -> None:
        self._seen_start = False
        self._seen_steps = self._seen_images = 0

    def again(self) -> None:
        """Say that the next event is the first one of another time that the run is made."""
        self._begin_again()

    def take(self, event: Event) -> Event | None:
        """Return an event as the consumer is to have it: None for one that has arrived before.

        Of what had arrived, request, identity, x_T and the arrays of the last step are compared bit for bit, and the
        pictures. Where they differ a `Failed` (`WorkerLost`) comes in place of the event, and it is the end.
        """
        if self.ended:
            return None
        if isinstance(event, Started):
            return self._take_start(event)
        if isinstance(event, Step):
            return self._take_step(event)
        if isinstance(event, Image):
            return self._take_image(event)
        if isinstance(event, Finished) and event.status == "complete" and self._seen_steps < self._steps:
            return self._differs(f"it has {self._seen_steps} steps in place of {self._steps} and more")
        self.ended = isinstance(event, (Finished, Failed))
        return event

    def _take_start(self, event: Started) -> Event | None:
        self._seen_start = True
        first = self._started
        if first is None:
            self._started = event
            return event
        if first.params != event.params:
            return self._differs("the request is read otherwise")
        if first.provenance.get("identity") != event.provenance.get("identity"):
            return self._differs("the model or the software is another")
        if not _same(first.initial_latents, event.initial_latents):
            return self._differs("its first noise is another")
        return None

    def _take_step(self, event: Step) -> Event | None:
        self._seen_steps += 1
        if self._seen_steps > self._steps:
            self._steps, self._step = self._seen_steps, event
            return event
        last = self._step
        if self._seen_steps == self._steps and last is not None:
            for field in fields(event):
                if not _same(getattr(last, field.name), getattr(event, field.name)):
                    return self._differs(f"{field.name} of step {event.index + 1} is another")
        return None

    def _take_image(self, event: Image) -> Event | None:
        self._seen_images += 1
        if self._seen_images > len(self._images):
            self._images.append(event)
            return event
        if not _same(self._images[self._seen_images - 1].pixels, event.pixels):
            return self._differs(f"image {event.index + 1} is another")
        return None

    def _differs(self, what: str) -> Failed:
        self.ended = True
        return Failed(
            WorkerLost.code,
            f"The worker of this run ended, and on another one it does not come out the same ({what}): run it again.",
        )


def _same(a: Any, b: Any) -> bool:
    """Whether two values of events are the same, arrays bit for bit."""
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(_same(a[name], b[name]) for name in a)
    if isinstance(a, float) and isinstance(b, float):
        # NaN is the same as NaN here.
        return a == b or (a != a and b != b)
    return bool(type(a) is type(b) and a == b)
