"""The events of a run, and their wire form.

Every backend that can see inside yields the same stream::

    Started, Step, Step, ..., Image (one per image), Finished | Failed

Arrays are CPU NumPy with a leading batch axis B. Latents are stored as the pipeline holds them: (B, C, H, W)
for most, (B, tokens, channels) for packed ones (FLUX and its kin).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

import numpy as np

from diffatlas.params import GenerationParams


@dataclass(frozen=True)
class Started:
    """The run begins: what was asked, resolved, and the state before the first step."""

    kind: ClassVar[str] = "started"
    run_id: str
    params: GenerationParams
    #: x_T, the state before the first step, as the pipeline holds it; None of a hosted run.
    initial_latents: np.ndarray | None
    #: Noise level of `initial_latents`, in the scheduler's own units; None where the scheduler does not tell.
    initial_sigma: float | None
    #: Number of denoising steps that will follow (some schedulers take more or fewer than was asked); None of a hosted
    #: run.
    total_steps: int | None
    #: What it runs on: model revision, scheduler config, dtype, device, library versions.
    provenance: dict[str, Any] = field(default_factory=dict)
    #: What is captured (the fields of `Capture`).
    capture: dict[str, Any] = field(default_factory=dict)
    #: The stored run that these events are read from; None where the model runs. `run_id` is then its id too.
    cached_from: str | None = None


@dataclass(frozen=True)
class Step:
    """The state after one denoising step, and what led to it."""

    kind: ClassVar[str] = "step"
    #: 0-based.
    index: int
    #: The timestep at which the model was called.
    timestep: float
    #: Noise level of `latents`, the state *after* the step (0 at the end), in the scheduler's own units; None where the
    #: scheduler does not tell.
    sigma: float | None
    #: The state after the step.
    latents: np.ndarray | None = None
    #: What the scheduler received: the model's output with guidance applied, without a learned variance.
    noise_pred: np.ndarray | None = None
    #: The model's output for the prompt, and for the negative prompt, where guidance ran.
    cond_pred: np.ndarray | None = None
    uncond_pred: np.ndarray | None = None
    #: The model's estimate of the clean latents at this step.
    x0_pred: np.ndarray | None = None
    #: Scalars of the first image of the batch; `diffatlas.geometry.path` defines them and gives the others.
    metrics: dict[str, float] = field(default_factory=dict)
    #: A picture of `x0_pred`, (B, H, W, 3) uint8, or None at steps that were not previewed.
    preview: np.ndarray | None = None
    #: x0 of another prediction m of the same shape is ``x0_pred + x0_gain * (m - noise_pred)``: exact where the
    #: scheduler neither clips nor thresholds x0. None where x0 was not captured.
    x0_gain: float | None = None
    #: What each place of the image attends to, by "<kind>:<layer>"; None at steps where it was not captured. Shares of
    #: a query's attention, float16. "cross": (B, tokens, rows, columns). "self": (B, rows, columns, rows, columns),
    #: the place that looks first, then the one that is looked at, places averaged to the cells of a grid. By head, an
    #: axis of heads follows B; with both halves of guidance, an axis of (cond, uncond) comes before it, or of (cond)
    #: alone where no guidance ran. `diffatlas.capture.attention_maps` defines them.
    attention: Mapping[str, np.ndarray] | None = None
    #: The state that the step started from, where that is not the one that the step before left: a callback, a mask or
    #: the views of a panorama changed the latents in between. None where nothing did.
    start_latents: np.ndarray | None = None
    #: Predictions that guidance mixed besides `cond_pred` and `uncond_pred`, by what they were made with: "image" (the
    #: image without the text, InstructPix2Pix), "perturbed" (attention, layers or latents made worse on purpose: PAG,
    #: SAG, SLG). One whose part cannot be told is in none of these.
    other_preds: Mapping[str, np.ndarray] = field(default_factory=dict)


class SigmasBefore:
    """The noise level at which the model is asked at each step, told as the steps come.

    `Step.sigma` is the level of the state that a step leaves, while its timestep is that at which the model was asked:
    what stands beside the timestep is the level of the state before. That is the one that the step before left,
    `Started.initial_sigma` for the first step. The views of a panorama are steps from one level to one other, as is
    a step that is taken again after the latents were made noisy again: one that leads from a timestep to a level as an
    earlier one did was asked at the same level.
    """

    def __init__(self, initial_sigma: float | None) -> None:
        self._left = initial_sigma
        self._known: dict[tuple[float, float], float] = {}

    def of(self, timestep: float, sigma: float | None) -> float | None:
        """Return the level at which the next step was asked, in the scheduler's own units; None where it is unknown.

        timestep, sigma: those of the step (`Step.timestep`, `Step.sigma`). Each step of a run is given once, in order.
        """
        before, self._left = self._left, sigma
        if sigma is None:
            return before
        before = self._known.get((timestep, sigma), before)
        if before is not None:
            self._known[timestep, sigma] = before
        return before


def sigmas_before(
    initial_sigma: float | None, steps: Iterable[tuple[float, float | None]]
) -> list[float | None]:
    """Return the noise level at which the model was asked at each step: see `SigmasBefore`.

    steps: (timestep, sigma) of every step of a run, in order.
    """
    levels = SigmasBefore(initial_sigma)
    return [levels.of(timestep, sigma) for timestep, sigma in steps]


@dataclass(frozen=True)
class Image:
    """One final image."""

    kind: ClassVar[str] = "image"
    #: Position in the batch.
    index: int
    #: (H, W, 3) uint8 RGB.
    pixels: np.ndarray


@dataclass(frozen=True)
class Finished:
    """The run ended, whole ("complete") or at the user's wish ("stopped")."""

    kind: ClassVar[str] = "finished"
    status: str
    #: Wall-clock seconds of the pipeline call.
    seconds: float
    #: Cosine of each step's latents to the last ones (first image), known only now.
    cosine_to_end: list[float] = field(default_factory=list)
    #: What was asked for and could not be had, and why: a sentence by the name of a field of `Step` or `Started`, or
    #: "previews", "attention". `diffatlas.run.extend` puts it into the run's ``provenance["missing"]``.
    missing: dict[str, str] = field(default_factory=dict)
    #: What was known only at the end of what it ran on, such as what a provider said of its request.
    #: `diffatlas.run.extend` adds it to the run's ``provenance``.
    provenance: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Waiting:
    """The run waits for something outside: a provider's queue or limit, or a model that is started there.

    It may come at any place of a stream before its end, also before `Started`, and is no part of the run.
    """

    kind: ClassVar[str] = "waiting"
    #: What it waits for, as a sentence without the seconds.
    message: str
    #: Seconds until it goes on by itself; None where nobody knows.
    seconds: float | None = None


@dataclass(frozen=True)
class Failed:
    """The run ended in an error; what arrived before it stays valid."""

    kind: ClassVar[str] = "failed"
    #: `DiffAtlasError.code` of the error.
    code: str
    message: str
    #: The parameter at fault, where one is.
    field: str | None = None


Event = Started | Step | Image | Waiting | Finished | Failed
#: The fields that are several arrays by name. Among the tensors of a blob their names begin with the field's.
_BY_NAME = ("attention", "other_preds")
_KINDS: dict[str, type] = {e.kind: e for e in (Started, Step, Image, Waiting, Finished, Failed)}


def to_bytes(event: Event) -> bytes:
    """Serialise an event as one safetensors blob: arrays as tensors, the rest as JSON metadata.

    Nothing is pickled, so a blob from elsewhere is safe to read.
    """
    from safetensors.numpy import save

    arrays: dict[str, np.ndarray] = {}
    rest: dict[str, Any] = {"kind": event.kind}
    for f in fields(event):
        value = getattr(event, f.name)
        if f.name in _BY_NAME:
            # Steps without them are as they were before they could be captured.
            found = value or {}
            arrays |= {f"{f.name}/{key}": np.ascontiguousarray(array) for key, array in found.items()}
        elif isinstance(value, np.ndarray):
            arrays[f.name] = np.ascontiguousarray(value)
        elif isinstance(value, GenerationParams):
            rest[f.name], pictures = split_params(value)
            arrays |= pictures
        else:
            rest[f.name] = value
    return save(arrays, metadata={"event": json.dumps(rest, allow_nan=True)})


def split_params(
    params: GenerationParams, at: str = "inputs"
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return a request as plain JSON types, and the pixels of its pictures by name: ``at``/0, ``at``/1 ..."""
    pixels = {f"{at}/{i}": one.pixels for i, one in enumerate(params.inputs)}
    return params.to_dict(), {name: np.ascontiguousarray(x) for name, x in pixels.items() if x is not None}


def join_params(
    plain: Mapping[str, Any], arrays: dict[str, np.ndarray], at: str = "inputs"
) -> GenerationParams:
    """Put together what `split_params` took apart; the pictures are taken out of ``arrays``.

    Raises `diffatlas.errors.InvalidParams` for what is no request, and for a picture that has been changed.
    """
    params = GenerationParams.from_dict(plain)
    pixels = [arrays.pop(f"{at}/{i}", None) for i in range(len(params.inputs))]
    seen = (one if x is None else one.with_pixels(x) for one, x in zip(params.inputs, pixels, strict=True))
    return params.replace(inputs=tuple(seen))


def from_bytes(blob: bytes) -> Event:
    """Read what `to_bytes` wrote. Raises ValueError for anything else."""
    from safetensors.numpy import load

    try:
        header = json.loads(blob[8 : 8 + int.from_bytes(blob[:8], "little")])
        rest = json.loads(header["__metadata__"]["event"])
        cls = _KINDS[rest.pop("kind")]
        arrays = load(blob)
        if "params" in rest:
            rest["params"] = join_params(rest["params"], arrays)
        for field_name in _BY_NAME:
            named = [name for name in arrays if name.startswith(f"{field_name}/")]
            if named:
                rest[field_name] = {name.removeprefix(f"{field_name}/"): arrays.pop(name) for name in named}
        return cls(**rest, **arrays)
    except Exception as error:
        raise ValueError("These bytes are not a Diffusion Atlas event.") from error
