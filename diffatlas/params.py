"""What is asked of a model: `GenerationParams`, its canonical JSON and its key."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from diffatlas.errors import InvalidParams

MAX_SEED = 2**63 - 1
MAX_STEPS = 1000
MAX_GUIDANCE = 100.0
MAX_SIDE = 4096
MAX_IMAGES = 64


@dataclass(frozen=True)
class GenerationParams:
    """One request, in diffusers' own argument names.

    ``width``, ``height`` and ``scheduler`` may be None: the model's own. A backend resolves them before
    it starts, and the resolved values are what `Started` carries and what a run stores.

    Guidance follows diffusers: it is applied only where ``guidance_scale > 1``
    (guided = uncond + guidance_scale * (cond - uncond); Ho and Salimans 2022, arXiv 2207.12598).
    """

    model: str = "shapes"
    prompt: str = ""
    negative_prompt: str = ""
    seed: int = 0
    num_inference_steps: int = 30
    guidance_scale: float = 5.0
    width: int | None = None
    height: int | None = None
    scheduler: str | None = None
    num_images_per_prompt: int = 1

    def validate(self) -> GenerationParams:
        """Return self, or raise `InvalidParams` naming the first field that is wrong.

        Checks what can be known without the model; a backend checks the rest (size multiples, scheduler).
        """
        if not isinstance(self.model, str) or not self.model.strip():
            raise InvalidParams("No model was chosen: name one of `diffatlas models`.", field="model")
        if not isinstance(self.prompt, str) or not self.prompt.strip():
            raise InvalidParams("The prompt is empty: say what the image should show.", field="prompt")
        if not isinstance(self.negative_prompt, str):
            raise InvalidParams("The negative prompt must be text.", field="negative_prompt")
        _whole("seed", "The seed", self.seed, 0, MAX_SEED)
        _whole("num_inference_steps", "The number of steps", self.num_inference_steps, 1, MAX_STEPS)
        _whole("num_images_per_prompt", "The number of images", self.num_images_per_prompt, 1, MAX_IMAGES)
        g = self.guidance_scale
        if not _is_number(g) or not 0 <= g <= MAX_GUIDANCE:
            raise InvalidParams(
                f"The guidance scale is {g!r}: give a number from 0 to {MAX_GUIDANCE:g}.",
                field="guidance_scale",
            )
        for name in ("width", "height"):
            if getattr(self, name) is not None:
                _whole(name, f"The {name}", getattr(self, name), 8, MAX_SIDE)
        return self

    @property
    def guided(self) -> bool:
        """Whether diffusers runs classifier-free guidance at this scale."""
        return self.guidance_scale > 1

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> GenerationParams:
        """Build from a dict; unknown names raise `InvalidParams` rather than being dropped."""
        known = {f.name for f in fields(cls)}
        unknown = sorted(set(data) - known)
        if unknown:
            raise InvalidParams(
                f"Unknown parameter {unknown[0]!r}: known are {', '.join(sorted(known))}.", field=unknown[0]
            )
        return cls(**data)

    def replace(self, **changes: Any) -> GenerationParams:
        """Return a copy with some fields changed."""
        return replace(self, **changes)

    def canonical_json(self) -> str:
        """One spelling per request: sorted keys, no spaces, numbers of one type."""
        data = self.to_dict()
        data["guidance_scale"] = float(self.guidance_scale)
        return canonical_json(data)

    def key(self) -> str:
        """SHA-256 of `canonical_json`: equal requests have equal keys."""
        return hashlib.sha256(self.canonical_json().encode()).hexdigest()


def canonical_json(data: Any) -> str:
    """Serialise JSON data in the one canonical spelling; NaN and infinity are refused."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _whole(name: str, label: str, value: Any, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise InvalidParams(f"{label} is {value!r}: give a whole number from {low} to {high}.", field=name)
