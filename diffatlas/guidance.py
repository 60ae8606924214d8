"""The guidance methods that can be asked for by name, and their options.

Plain classifier-free guidance (Ho and Salimans 2022, arXiv 2207.12598) has no name here: it is what runs where no
method is asked for, guided = uncond + guidance_scale * (cond - uncond).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from diffatlas.errors import InvalidParams


@dataclass(frozen=True)
class Option:
    """A number that a method takes: its default (whole numbers only, where it is one), its range, and what it does."""

    default: float
    low: float
    high: float
    about: str


@dataclass(frozen=True)
class GuidanceMethod:
    """A method: its label, what it does and where it comes from, and its options by name."""

    label: str
    about: str
    options: Mapping[str, Option] = field(default_factory=dict)
    #: Whether it needs a further denoiser call at each step, with layers or attention changed.
    perturbs: bool = False


# Step k of N, from 0, is in it where start <= k / N < stop.
_START = Option(0.0, 0.0, 1.0, "Fraction of the steps after which it begins.")
_STOP = Option(1.0, 0.0, 1.0, "Fraction of the steps after which it ends.")

METHODS: dict[str, GuidanceMethod] = {
    "rescale": GuidanceMethod(
        "Rescaled",
        "Plain guidance, its standard deviation brought back towards that of the conditional prediction "
        "(Lin et al. 2023, arXiv 2305.08891, section 3.4).",
        {"rescale": Option(0.7, 0.0, 1.0, "Share of the rescaled prediction.")},
    ),
    "interval": GuidanceMethod(
        "Interval",
        "Plain guidance in a part of the steps only, none before and after "
        "(Kynkäänniemi et al. 2024, arXiv 2404.07724).",
        {"start": Option(0.2, 0.0, 1.0, _START.about), "stop": Option(0.8, 0.0, 1.0, _STOP.about)},
    ),
    "apg": GuidanceMethod(
        "Adaptive projected",
        "The part of the guidance that is parallel to the conditional prediction is weakened, its norm is "
        "bounded, and a negative momentum is added (APG; Sadat et al. 2024, arXiv 2410.02416).",
        {
            "eta": Option(0.0, 0.0, 1.0, "Weight of the parallel part; 1 keeps all of it."),
            "norm": Option(15.0, 0.0, 1000.0, "Largest norm of the guidance; 0 for no bound."),
            "momentum": Option(-0.5, -1.0, 1.0, "Weight of the steps before; 0 for none."),
        },
    ),
    "cfg_zero_star": GuidanceMethod(
        "CFG-Zero*",
        "The unconditional prediction is scaled to fit the conditional one, and the first steps are skipped "
        "(Fan et al. 2025, arXiv 2503.18886). Made for flow matching.",
        {
            "zero_steps": Option(
                1,
                0,
                100,
                "Steps at the start at which the prediction is zero; 0 where the model predicts noise.",
            )
        },
    ),
    "tangential": GuidanceMethod(
        "Tangential",
        "The unconditional prediction loses the part that the two do not share "
        "(TCFG; Kwon et al. 2025, arXiv 2503.18137).",
    ),
    "pag": GuidanceMethod(
        "Perturbed attention",
        "Also away from a prediction whose self-attention looks at each place alone "
        "(PAG; Ahn et al. 2024, arXiv 2403.17377). One more denoiser call a step.",
        {
            "scale": Option(3.0, 0.0, 20.0, "Strength, beside the guidance scale."),
            "start": _START,
            "stop": _STOP,
        },
        perturbs=True,
    ),
    "slg": GuidanceMethod(
        "Skip layer",
        "Also away from a prediction in which a middle block is skipped (SLG; as in Stable Diffusion 3.5). "
        "One more denoiser call a step.",
        {
            "scale": Option(2.8, 0.0, 20.0, "Strength, beside the guidance scale."),
            "start": Option(0.01, 0.0, 1.0, _START.about),
            "stop": Option(0.2, 0.0, 1.0, _STOP.about),
        },
        perturbs=True,
    ),
}


def check_method(method: Any, options: Any) -> None:
    """Raise `InvalidParams` for a method or an option that there is not, or one out of range."""
    if method is None:
        if options:
            raise InvalidParams(
                "Guidance options need a guidance method: choose one, or leave them out.",
                field="guidance_options",
            )
        return
    if method not in METHODS:
        raise InvalidParams(
            f"There is no guidance method {method!r}: choose one of {', '.join(METHODS)}, or none for the plain one.",
            field="guidance_method",
        )
    if options is None:
        return
    if not isinstance(options, Mapping):
        raise InvalidParams("Guidance options must be names with numbers.", field="guidance_options")
    known = METHODS[method].options
    for name, value in options.items():
        if name not in known:
            has = f"it has {', '.join(known)}" if known else "it has none"
            raise InvalidParams(
                f"The guidance method {method!r} has no option {name!r}: {has}.", field="guidance_options"
            )
        low, high = known[name].low, known[name].high
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
            raise InvalidParams(
                f"The option {name} of {method} is {value!r}: give a number from {low:g} to {high:g}.",
                field="guidance_options",
            )
        if isinstance(known[name].default, int) and value != int(value):
            raise InvalidParams(
                f"The option {name} of {method} is {value!r}: give a whole number.", field="guidance_options"
            )
    if all_options(method, options).get("start", 0.0) > all_options(method, options).get("stop", 1.0):
        raise InvalidParams(
            f"The guidance method {method!r} would end before it starts.", field="guidance_options"
        )


def label_of(method: str) -> str:
    """Return what a method is called: its own name where this version does not know it, as a stored run may have it."""
    return METHODS[method].label if method in METHODS else str(method)


def all_options(method: str, options: Mapping[str, float] | None) -> dict[str, float]:
    """Return the options of a method, those that were not given at their defaults."""
    return {name: float((options or {}).get(name, o.default)) for name, o in METHODS[method].options.items()}
