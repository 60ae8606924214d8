"""A latent neighbourhood: what lies around the noise of one seed, or on the way to another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from diffatlas.errors import InvalidParams
from diffatlas.geometry.noise import derived_seeds, seeds_around
from diffatlas.library.study import MODES, Lane, Study
from diffatlas.params import GenerationParams, Noise
from diffatlas.request import MAX_SEED
from diffatlas.studies.plan_lanes import (
    Column,
    is_number,
    lanes_of,
    lay_out,
    number,
    params_of,
    title_of,
    whole,
)

MOST_NEIGHBOURS = 64
MOST_STOPS = 64
SPREADS = ("even", "shell")
NO_GEOMETRY = "The distance between seeds has no geometry: the noise of each is an independent draw."


def plan_neighbourhood(
    base: GenerationParams,
    mode: str = "perturb",
    *,
    k: int = 8,
    radius: float = 0.4,
    spread: str = "even",
    step: int = 0,
    to_seed: int | None = None,
    stops: int = 8,
    offset: int = 1000,
    lanes: Sequence[Any] = (),
    exact: bool = False,
    backend: str = "local",
) -> Study:
    """Return a study of one row: the anchor, which is ``base`` with the plain noise of its seed, and its neighbours.

    mode:
        "perturb": column 0 is the anchor, columns 1 to ``k`` its neighbours sqrt(1 - s^2) x_T + s eps, where eps comes
            from `diffatlas.geometry.noise.derived_seeds`. With ``spread`` "even" neighbour i has s = radius * i / k,
            with "shell" every one has s = radius. After ``step`` steps instead of at the start where that is not 0.
        "slerp": ``stops`` columns on the great circle from the noise of the seed to that of ``to_seed``, both included.
        "offset": column 0 is the anchor, the others are ``k`` other seeds within ``offset`` of it. For backends that
            take nothing but a seed; such neighbours are no nearer than any others.
    k: 1 to 64. radius: 0 to 1 (0 gives copies). step: 0 to the number of steps less 1. stops: 2 to 64, both ends
        included. offset: from 1.
    lanes: what further lanes change (`diffatlas.studies.plan_lanes.lanes_of`).
    exact: whether every cell runs alone, bit-equal to a single run, rather than in a batch.
    backend: where ``base`` runs.

    A cell's value is its radius, its fraction of the way, or its seed. ``spec`` has the arguments
    that the mode uses, and baseline: the anchor's column, 0.

    Raises `InvalidParams` with the name of the argument, or of the field of ``base``, that is wrong. What the mode
    does not use is not looked at.
    """
    base = base.replace(noise=None)
    base.validate()
    if mode not in MODES:
        raise InvalidParams(f"There is no mode {mode!r:.40}: choose one of {', '.join(MODES)}.", field="mode")
    spec: dict[str, Any] = {"mode": mode, "exact": bool(exact), "baseline": 0, "base": base.to_dict()}
    if mode == "slerp":
        to_seed = _other_seed(base.seed, to_seed)
        stops = whole("stops", "The number of stops", stops, 2, MOST_STOPS)
        spec |= {"to_seed": to_seed, "stops": stops}
        columns, field = [_stop(base.seed, to_seed, i, stops) for i in range(stops)], "stops"
        what = f"From seed {base.seed} to {to_seed} in {stops} stops"
    elif mode == "perturb":
        k = whole("k", "The number of neighbours", k, 1, MOST_NEIGHBOURS)
        step = whole("step", "The step of the perturbation", step, 0, base.num_inference_steps - 1)
        if not is_number(radius) or not 0 <= radius <= 1:
            raise InvalidParams(f"The radius is {radius!r:.40}: give a number from 0 to 1.", field="radius")
        if spread not in SPREADS:
            raise InvalidParams(
                f"There is no spread {spread!r:.40}: choose one of {', '.join(SPREADS)}.", field="spread"
            )
        spec |= {"k": k, "radius": float(radius), "spread": spread, "step": step}
        columns = [_anchor(base.seed, 0.0), *_perturbed(base.seed, k, float(radius), spread, step)]
        reach = f"{'at' if spread == 'shell' else 'within'} radius {number(radius)}"
        reach += f" after {_steps(step)}" if step else ""
        field, what = "k", f"{_neighbours(k)} of seed {base.seed} {reach}"
    else:
        k = whole("k", "The number of neighbours", k, 1, MOST_NEIGHBOURS)
        offset = whole("offset", "The offset", offset, 1, MAX_SEED)
        spec |= {"k": k, "offset": offset}
        seeds = seeds_around(base.seed, k, offset)
        columns = [_anchor(base.seed, base.seed), *(_other(base.seed, seed) for seed in seeds)]
        field, what = "k", f"{_neighbours(k)} of seed {base.seed} by number within {offset}"

    def make(lane: Lane, row: int, column: int) -> Column:
        value, label, caption, changes = columns[column]
        return Column(value, label, caption, params_of(base, lane).replace(**changes))

    title = title_of(what, base.prompt)
    # A step at which the noise is perturbed is one of as many.
    varied = {"seed", "num_inference_steps"} if spec.get("step") else {"seed"}
    all_lanes = lanes_of(base, lanes, backend, varied)
    return lay_out("neighbourhood", title, spec, all_lanes, 1, len(columns), make, field)


def other_anchor(first: GenerationParams, second: GenerationParams) -> int:
    """Return ``to_seed`` of the way from the noise of one run to that of another; all else is the first one's.

    Raises `InvalidParams` where there is no such way: the runs are of different models or sizes, or of noise that is
    not a seed's alone.
    """
    for name in ("model", "width", "height"):
        a, b = getattr(first, name), getattr(second, name)
        if a != b:
            raise InvalidParams(
                f"These runs differ in {name} ({a} and {b}), so there is no way between their noise: choose two that"
                " do not.",
                field="to_seed",
            )
    if first.noise is not None or second.noise is not None:
        raise InvalidParams(
            "The noise of one of these runs is not that of its seed alone: choose runs that start from a seed.",
            field="to_seed",
        )
    return _other_seed(first.seed, second.seed)


#: Value, label, caption, and what is set of the parameters.
_Column = tuple[Any, str, str, dict[str, Any]]


def _anchor(seed: int, value: Any) -> _Column:
    return value, "anchor", f"The anchor: the noise of seed {seed} as it is.", {}


def _perturbed(anchor: int, k: int, radius: float, spread: str, step: int) -> list[_Column]:
    columns = []
    for i, seed in enumerate(derived_seeds(anchor, k), start=1):
        # Rounded, so that 3/8 of 0.4 reads 0.15.
        r = radius if spread == "shell" or i == k else round(radius * i / k, 12)
        noise = Noise("perturb", seed, r, step)
        cosine = math.sqrt((1 - r) * (1 + r))
        caption = f"{asked_of_noise(noise)} Its cosine to the anchor's is usually about {cosine:.3f}."
        columns.append((r, f"{i} · r {r:.3g}", caption, {"noise": noise}))
    return columns


def asked_of_noise(noise: Noise | None) -> str | None:
    """Return what a perturbed noise is, without what is usual of it; None for any other."""
    if noise is None or noise.kind != "perturb":
        return None
    start = "x_T" if noise.step == 0 else f"The noise that is left after {_steps(noise.step)}"
    return f"{start}, turned by radius {noise.amount:.3g}."


def _stop(seed: int, to_seed: int, i: int, stops: int) -> _Column:
    if i in (0, stops - 1):
        end = seed if i == 0 else to_seed
        which = "first" if i == 0 else "last"
        return (
            float(i > 0),
            f"seed {end}",
            f"The {which} anchor: the noise of seed {end} as it is.",
            {"seed": end},
        )
    t = i / (stops - 1)
    caption = f"{t:.0%} of the way from seed {seed} to seed {to_seed}, along the arc between their noises."
    return t, f"t {t:.2f}", caption, {"noise": Noise("slerp", to_seed, t)}


def _other(anchor: int, seed: int) -> _Column:
    side = "above" if seed > anchor else "below"
    caption = f"Seed {seed}, {abs(seed - anchor)} {side} the anchor's. {NO_GEOMETRY}"
    return seed, f"seed {seed}", caption, {"seed": seed}


def _other_seed(seed: int, to_seed: Any) -> int:
    if to_seed is None:
        raise InvalidParams("Say which seed the path leads to.", field="to_seed")
    to_seed = whole("to_seed", "The seed that the path leads to", to_seed, 0, MAX_SEED)
    if to_seed == seed:
        raise InvalidParams(
            f"The path leads from seed {seed} to itself: give another seed to go to.", field="to_seed"
        )
    return to_seed


def _neighbours(k: int) -> str:
    return "1 neighbour" if k == 1 else f"{k} neighbours"


def _steps(n: int) -> str:
    return "1 step" if n == 1 else f"{n} steps"
