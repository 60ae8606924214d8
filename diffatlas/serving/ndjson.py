"""Runs for small clients that read a line of JSON for each event: ``POST /trajectory`` (docs/remote.md)."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image as Pictures

from diffatlas.backends import wire
from diffatlas.backends.remote.protocol import Frames, answer_of, error_of_end
from diffatlas.capture.spec import Capture
from diffatlas.errors import InvalidParams, NotEnoughMemory, OverBound
from diffatlas.events import Event, Failed, Finished, Image, Started, Step
from diffatlas.params import GenerationParams
from diffatlas.serving.runs import KeptRun
from diffatlas.serving.stream import EventStream

#: What a request of this kind has, so that no web page sends one by a form.
REFERENCE_HEADER = "X-Diffusion-Atlas"
#: Name in the request -> (name in `GenerationParams`, value where it is left out); None for the model's own.
_FIELDS = {
    "modelId": ("model", None),
    "prompt": ("prompt", None),
    "negativePrompt": ("negative_prompt", ""),
    "seed": ("seed", 0),
    "steps": ("num_inference_steps", 20),
    "cfg": ("guidance_scale", 7.5),
    "width": ("width", None),
    "height": ("height", None),
}
_OTHERS = ("previewEvery", "previewSize", "overrideMemoryCheck", "providerId")
#: Codes of errors that such clients know.
_CODES = {NotEnoughMemory.code: "model_too_large", OverBound.code: "resolution_too_large"}


def asked_of_reference(asked: Mapping[str, Any]) -> wire.Asked:
    """Return the request that a body asks for. Raises `InvalidParams`."""
    if unknown := sorted(set(asked) - {*_FIELDS, *_OTHERS}):
        known = ", ".join([*_FIELDS, *_OTHERS])
        raise InvalidParams(f"There is no field {unknown[0]!r:.60}: known are {known}.", field="body")
    if asked.get("overrideMemoryCheck"):
        raise InvalidParams(
            "The memory is not overridden by a request: start the server with DIFFATLAS_IGNORE_MEMORY=1.",
            field="overrideMemoryCheck",
        )
    given = {
        ours: value
        for theirs, (ours, usual) in _FIELDS.items()
        if (value := asked.get(theirs) if asked.get(theirs) is not None else usual) is not None
    }
    params = GenerationParams.from_dict(given).validate()
    every, size = asked.get("previewEvery", 4), asked.get("previewSize", 96)
    if not isinstance(every, int) or every < 0:
        raise InvalidParams("previewEvery is a number of steps, 0 for none.", field="previewEvery")
    capture = Capture(previews=every or "off", preview_size=size, metrics=False)
    return wire.asked_of(params, capture)


class LineStream(EventStream):
    """An ASGI answer: the events of one run as lines of JSON. The run ends when nobody listens."""

    kind = "application/x-ndjson"

    def __init__(
        self, run: KeptRun, alive: float, params: GenerationParams, device: str, loaded: bool
    ) -> None:
        super().__init__(run, 0, alive)
        self._params = params
        self._device = device
        self._loaded = loaded
        self._begun = self._ended = False
        self._total = params.num_inference_steps
        self._picture = ""

    def body(self, found: list[bytes], end: bytes | None) -> bytes:
        """Return lines."""
        lines = [] if self._begun else self._first()
        self._begun = True
        for kind, payload in Frames().take(b"".join(found)):
            lines += self._lines(wire.answer_from_bytes(answer_of(kind, payload))[1])
        if end is not None and not self._ended:
            ((_, payload),) = Frames().take(end)
            error = error_of_end(payload)
            lines.append(_error(error.code, error.message) if error else _error("", "The run was stopped."))
        return b"".join(json.dumps(line).encode() + b"\n" for line in lines)

    def alive(self) -> bytes:
        """Return nothing: who listens wants the run."""
        self._run.ending.heard()
        return b""

    def left(self) -> None:
        """End the run."""
        self._run.ending.set()

    def _first(self) -> list[dict[str, Any]]:
        params = self._params
        meta = {
            "providerId": "local",
            "modelId": params.model,
            "seed": params.seed,
            "steps": params.num_inference_steps,
            "cfg": params.guidance_scale,
            "width": params.width,
            "height": params.height,
        }
        words = "The model is resident." if self._loaded else "The model is loaded."
        loading = {"modelId": params.model, "alreadyLoaded": self._loaded, "message": words}
        return [{"event": "start", "meta": meta}, {"event": "model_loading", **loading}]

    def _lines(self, event: Event) -> list[dict[str, Any]]:
        """Return the lines of an event."""
        if isinstance(event, Started):
            self._total = event.total_steps or self._total
            return [{"event": "ready", "device": self._device}]
        if isinstance(event, Step):
            return [self._step(event)]
        if isinstance(event, Image):
            self._picture = self._picture or _data_url(event.pixels)
        if isinstance(event, Failed):
            self._ended = True
            return [_error(event.code, event.message)]
        if isinstance(event, Finished) and event.status == "complete":
            self._ended = True
            return [
                {
                    "event": "done",
                    "imageDataUrl": self._picture,
                    "responseTimeMs": round(event.seconds * 1000),
                }
            ]
        return []

    def _step(self, step: Step) -> dict[str, Any]:
        assert step.latents is not None  # they are captured
        latents = np.ascontiguousarray(step.latents, "<f4")
        values = latents.astype(np.float64)
        line = {
            "event": "step",
            "step": step.index + 1,
            "totalSteps": max(self._total, step.index + 1),
            "shape": list(latents.shape),
            "latentB64": base64.b64encode(latents.tobytes()).decode(),
            "timestep": step.timestep,
            "sigma": step.sigma,
            "latentMean": values.mean(),
            "latentStd": values.std(),
            "latentMin": values.min(),
            "latentMax": values.max(),
            "latentNorm": float(np.linalg.norm(values)),
        }
        if step.preview is not None:
            line["previewDataUrl"] = _data_url(step.preview[0])
        return line


def _error(code: str, message: str) -> dict[str, Any]:
    known = {"code": _CODES[code]} if code in _CODES else {}
    return {"event": "error", "message": message, **known}


def _data_url(pixels: np.ndarray) -> str:
    held = io.BytesIO()
    Pictures.fromarray(pixels).save(held, "PNG")
    return "data:image/png;base64," + base64.b64encode(held.getvalue()).decode()
