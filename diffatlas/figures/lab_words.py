"""What the figures of the 2D Lab share: the names, colours and marks of samplers, measures and fields."""

from __future__ import annotations

from diffatlas.figures.template import dash, ground, layer_colour, symbol
from diffatlas.lab2d.mixtures import Target
from diffatlas.lab2d.targets import TITLES

SAMPLERS = {
    "heun": "Heun",
    "ddim": "DDIM",
    "dpmpp_2m": "DPM++ 2M",
    "euler": "Euler",
    "midpoint": "Midpoint",
    "ddpm": "DDPM",
}
#: The measures of `diffatlas.lab2d.metrics.Measures`, as they are called.
MEASURES = {
    "mmd2": "MMD², unbiased",
    "mmd2_fine": "MMD², fine",
    "w2": "Sliced Wasserstein",
    "excess_nll": "Surprise, nats",
    "tv": "Mode shares, total variation",
    "covered": "Modes covered, share",
    "mmd2_biased": "MMD², biased",
}
#: The fields that are compared.
FIELDS = {"learned": "Learned", "exact": "Exact", "empirical": "Training points"}
QUANTITIES = {
    "score": "Score",
    "eps": "Noise (ε)",
    "x0": "Clean point (x₀)",
    "v": "v",
    "flow": "Flow (ε − x₀)",
}


def sampler_name(name: str) -> str:
    """Return what a sampler is called; one that is not known by its own name."""
    return SAMPLERS.get(name, name)


def sampler_look(name: str, dark: bool) -> tuple[str, str, str]:
    """Return (colour, dash, symbol) of a sampler, the same in every figure."""
    place = list(SAMPLERS).index(name) if name in SAMPLERS else len(SAMPLERS)
    on = ground(dark)
    return {"heun": on.burgundy, "ddim": on.ink}.get(name, layer_colour(place)), dash(place), symbol(place)


def target_name(target: Target) -> str:
    """Return what a target is called."""
    return TITLES.get(target.name) or {"drawing": "Your drawing", "table": "Your table"}.get(
        target.name, target.name
    )


def class_name(target: Target, label: int | None) -> str:
    """Return ", class NAME", or nothing where it is about all classes."""
    return "" if label is None else f", class {target.classes[label]}"


def percent(share: float) -> str:
    """Return a share in percent, to three digits."""
    return f"{100 * share:.3g} %"
