"""What is asked of a model: `GenerationParams`, its canonical JSON and its key."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from diffatlas.errors import InvalidParams
from diffatlas.guidance import check_method
from diffatlas.inputs import ImageInput, check_inputs, inputs_from
from diffatlas.request import FIELDS, MAX_SEED, NUMBER, check, check_whole, is_number

MAX_LORAS = 16
#: Left out where they are None or empty, as in the runs that were made before there were such fields.
_OPTIONAL = frozenset(part for field in FIELDS if not field.always for part in field.parts)
#: Characters that `GenerationParams.extra` may have as JSON.
MAX_EXTRA = 20_000
#: Arguments of a call that `GenerationParams` has fields for, or that are no part of a request.
NOT_EXTRA = frozenset(
    (
        "width", "height", "num_inference_steps", "num_images_per_prompt", "generator", "latents", "output_type",
        "return_dict", "callback", "callback_steps", "callback_on_step_end", "callback_on_step_end_tensor_inputs",
    )
)  # fmt: skip
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_HUB_ID = re.compile(r"[\w][\w.-]*/[\w][\w.-]*(?::[^:]+\.safetensors)?")


@dataclass(frozen=True)
class Noise:
    """What a run's noise is made of, besides the noise x_T of its own seed.

    - "perturb": x' = sqrt(1 - amount^2) x + amount * eps, where eps is drawn from ``seed``; the distribution of the
      norm is kept. ``step`` 0 perturbs x_T. After a later step, the noise that the state holds by the model's own
      estimate is what is perturbed: with x = alpha x0 + std n, x' = alpha x0 + std (sqrt(1 - amount^2) n + amount eps).
    - "slerp": x_T on the great circle from that of the run's seed (``amount`` 0) to that of ``seed`` (``amount`` 1);
      Shoemake 1985.
    """

    kind: str
    seed: int
    #: The radius in [0, 1], or the fraction of the way in [0, 1].
    amount: float
    #: Steps done before a perturbation; 0 for the start.
    step: int = 0

    def validate(self, steps: int) -> None:
        """Raise `InvalidParams` for what cannot be applied to a run of so many steps."""
        if self.kind not in ("perturb", "slerp"):
            raise InvalidParams(
                f"The noise is of the kind {self.kind!r}: give perturb or slerp.", field="noise"
            )
        check_whole("noise", "The seed of the noise", self.seed, 0, MAX_SEED)
        if not is_number(self.amount) or not 0 <= self.amount <= 1:
            what = "radius" if self.kind == "perturb" else "fraction"
            raise InvalidParams(f"The {what} is {self.amount!r}: give a number from 0 to 1.", field="noise")
        check_whole("noise", "The step of the perturbation", self.step, 0, max(0, steps - 1))
        if self.kind == "slerp" and self.step:
            raise InvalidParams("Interpolated noise is that of the start: its step is 0.", field="noise")


@dataclass(frozen=True)
class Lora:
    """A LoRA (Hu et al. 2021, arXiv 2106.09685) that is added to the model for a run.

    ``path`` is a ``.safetensors`` file, a folder with one, or on the Hub ``user/name`` or
    ``user/name:file.safetensors``. Pickles are never read.
    """

    path: str
    #: What its part is multiplied by; 0 is the model without it.
    weight: float = 1.0

    def __post_init__(self) -> None:
        if isinstance(self.path, os.PathLike):
            object.__setattr__(self, "path", os.fspath(self.path))

    @property
    def name(self) -> str:
        """The file's name, or what it is called on the Hub. The disk is not asked."""
        return self.path if self._could_be_on_hub else re.split(r"[/\\]", self.path.rstrip("/\\"))[-1]

    @property
    def on_hub(self) -> bool:
        """Whether ``path`` is a name on the Hub, and no folder of this machine."""
        return self._could_be_on_hub and not os.path.isdir(self.path)

    @property
    def _could_be_on_hub(self) -> bool:
        file = ":" not in self.path and self.path.endswith(".safetensors")
        return not file and _HUB_ID.fullmatch(self.path) is not None

    def validate(self) -> None:
        """Raise `InvalidParams` for what can be no LoRA. The file itself is for the backend to find."""
        if not isinstance(self.path, str) or not self.path.strip():
            raise InvalidParams("A LoRA has no path: name its .safetensors file.", field="loras")
        if self.path.lower().endswith(_PICKLES):
            raise InvalidParams(
                f"The LoRA {self.name!r} is a pickle, which is never read: give a .safetensors file.",
                field="loras",
            )
        if not is_number(self.weight):
            raise InvalidParams(
                f"The weight of the LoRA {self.name!r} is {self.weight!r}: give a number.", field="loras"
            )


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
    #: None only of a recorded call whose noise came from no seed that could be told; a request must have one.
    seed: int | None = 0
    num_inference_steps: int = 30
    guidance_scale: float = 5.0
    width: int | None = None
    height: int | None = None
    scheduler: str | None = None
    num_images_per_prompt: int = 1
    #: Which of several sets of weight files is read, such as "fp16"; None for the registry's, else the plain ones,
    #: else those that there are.
    variant: str | None = None
    #: Branch, tag or commit of a model of the Hub; None for the registry's, else the newest.
    revision: str | None = None
    #: Where in its repository or folder the pipeline is; None for the registry's, else the top.
    subfolder: str | None = None
    #: Added to the model for this run, in this order.
    loras: tuple[Lora, ...] = ()
    #: A name of `diffatlas.guidance.METHODS`; None for plain classifier-free guidance.
    guidance_method: str | None = None
    #: The method's options, those left out at their defaults.
    guidance_options: Mapping[str, float] | None = None
    #: What the noise is made of besides that of ``seed``; None for that alone.
    noise: Noise | None = None
    #: Further arguments of the pipeline's call, plain values only (JSON): ``{"eta": 0.5, "strength": 0.6}``.
    extra: Mapping[str, Any] | None = None
    #: The pictures among its arguments; `ImageInput.of` makes one of a Pillow image.
    inputs: tuple[ImageInput, ...] = ()

    def validate(self, prompted: bool = True) -> GenerationParams:
        """Return self, or raise `InvalidParams` naming the first field that is wrong.

        prompted: whether the model takes a prompt, which then must say something.

        Checks what can be known without the model; a backend checks the rest (size multiples, scheduler).
        """
        for field in FIELDS:
            if field.name == "prompt" and not prompted and isinstance(self.prompt, str):
                continue
            for part in field.parts:
                check(field, getattr(self, part), part)
        if not isinstance(self.loras, (tuple, list)) or not all(isinstance(x, Lora) for x in self.loras):
            raise InvalidParams("LoRAs must be a tuple of `diffatlas.params.Lora`.", field="loras")
        if len(self.loras) > MAX_LORAS:
            raise InvalidParams(f"{len(self.loras)} LoRAs are too many: at most {MAX_LORAS}.", field="loras")
        for lora in self.loras:
            lora.validate()
        check_method(self.guidance_method, self.guidance_options)
        if self.noise is not None:
            if not isinstance(self.noise, Noise):
                raise InvalidParams("The noise must be of the class `diffatlas.params.Noise`.", field="noise")
            self.noise.validate(self.num_inference_steps)
        check_inputs(self.inputs)
        check_extra(self.extra, self.inputs)
        return self

    @property
    def seed_words(self) -> str:
        """The seed in words: "seed 7", or "no known seed"."""
        return seed_words(self.seed)

    @property
    def guided(self) -> bool:
        """Whether diffusers runs classifier-free guidance at this scale."""
        return self.guidance_scale > 1

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain JSON types; what a request need not have only where it is set."""
        data = asdict(replace(self, guidance_options=None, extra=None, inputs=()))
        data["loras"] = list(data["loras"]) or None
        data["extra"] = json.loads(json.dumps(dict(self.extra))) if self.extra else None
        data["inputs"] = [one.to_dict() for one in self.inputs] or None
        if self.guidance_options:
            data["guidance_options"] = {name: float(v) for name, v in self.guidance_options.items()}
        return {name: value for name, value in data.items() if value is not None or name not in _OPTIONAL}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> GenerationParams:
        """Build from a dict; unknown names raise `InvalidParams` rather than being dropped."""
        known = {f.name for f in fields(cls)}
        unknown = sorted(set(data) - known)
        if unknown:
            raise InvalidParams(
                f"Unknown parameter {unknown[0]!r}: known are {', '.join(sorted(known))}.", field=unknown[0]
            )
        if isinstance(data.get("noise"), Mapping):
            data = {**data, "noise": _noise(data["noise"])}
        if "loras" in data:
            data = {**data, "loras": _loras(data["loras"])}
        if "inputs" in data:
            data = {**data, "inputs": inputs_from(data["inputs"] or ())}
        if data.get("extra") is not None:
            check_extra(data["extra"])
        return cls(**data)

    def replace(self, **changes: Any) -> GenerationParams:
        """Return a copy with some fields changed."""
        return replace(self, **changes)

    def canonical_json(self) -> str:
        """One spelling per request: sorted keys, no spaces, numbers of one type."""
        data = self.to_dict()
        data |= {
            field.name: float(data[field.name])
            for field in FIELDS
            if field.kind == NUMBER and data.get(field.name) is not None
        }
        if self.noise is not None:
            data["noise"]["amount"] = float(self.noise.amount)
        if all(isinstance(lora, Lora) for lora in self.loras):
            for lora in data.get("loras", ()):
                lora["weight"] = float(lora["weight"])
        return canonical_json(data)

    def key(self) -> str:
        """SHA-256 of `canonical_json`: equal requests have equal keys."""
        return hashlib.sha256(self.canonical_json().encode()).hexdigest()


def seed_words(seed: int | None) -> str:
    """Return a run's seed in words: "seed 7", or "no known seed"."""
    return "no known seed" if seed is None else f"seed {seed}"


def check_extra(extra: Any, inputs: tuple[ImageInput, ...] = ()) -> None:
    """Raise `InvalidParams` for what cannot be further arguments of a call beside the pictures ``inputs``."""
    if extra is None:
        return
    if not isinstance(extra, Mapping) or not all(isinstance(name, str) for name in extra):
        raise InvalidParams("The extra arguments must be a dict by name.", field="extra")
    for name, value in extra.items():
        if not name.isidentifier() or name.startswith("_"):
            raise InvalidParams(f"{name[:60]!r} is no name of an argument.", field="extra")
        if name in NOT_EXTRA:
            raise InvalidParams(
                f"{name!r} cannot be an extra argument: it has a field of its own, or is no part of a request.",
                field="extra",
            )
        if name in {one.name for one in inputs}:
            raise InvalidParams(f"{name!r} is given twice: as a picture and as a value.", field="extra")
        if not is_plain(value):
            raise InvalidParams(
                f"The extra argument {name!r} is of the type {type(value).__name__}: give numbers, texts, booleans, or "
                "lists and dicts of them.",
                field="extra",
            )
    if len(json.dumps(dict(extra))) > MAX_EXTRA:
        raise InvalidParams(f"The extra arguments are longer than {MAX_EXTRA} characters.", field="extra")


def is_plain(value: Any, depth: int = 4) -> bool:
    """Whether a value is JSON: None, a boolean, text, a finite number, or lists and dicts of such."""
    if value is None or isinstance(value, (bool, str)):
        return True
    if isinstance(value, (int, float)):
        return math.isfinite(value)
    if depth and isinstance(value, (list, tuple)):
        return all(is_plain(each, depth - 1) for each in value)
    if depth and isinstance(value, Mapping):
        return all(isinstance(k, str) and is_plain(v, depth - 1) for k, v in value.items())
    return False


def _noise(data: Mapping[str, Any]) -> Noise:
    known = {f.name for f in fields(Noise)}
    missing = {"kind", "seed", "amount"} - set(data)
    if set(data) - known or missing:
        raise InvalidParams(f"The noise must have {', '.join(sorted(known))} and no more.", field="noise")
    return Noise(**data)


def _loras(data: Any) -> tuple[Lora, ...]:
    known = {f.name for f in fields(Lora)}
    if not isinstance(data, (list, tuple)) or not all(
        isinstance(one, Lora) or (isinstance(one, Mapping) and "path" in one and set(one) <= known)
        for one in data
    ):
        raise InvalidParams("Each LoRA must have a path and a weight, and no more.", field="loras")
    return tuple(one if isinstance(one, Lora) else Lora(**one) for one in data)


def canonical_json(data: Any) -> str:
    """Serialise JSON data in the one canonical spelling; NaN and infinity are refused."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
