"""What a bench runs: each task of a pack, with each seed, in each lane."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from diffatlas.bench.bench import HAND, Bench
from diffatlas.bench.tasks import Pack
from diffatlas.capture.spec import Capture
from diffatlas.errors import InvalidParams
from diffatlas.library.study import Lane, Study
from diffatlas.params import GenerationParams
from diffatlas.request import MAX_SEED
from diffatlas.studies.plan_lanes import Column, lanes_of, lay_out, params_of, whole

MOST_SEEDS = 64
#: Tasks of a bench, and images of all its lanes.
MOST_ROWS = 10_000
MOST_IMAGES = 50_000


def plan_bench(
    pack: Pack,
    base: GenerationParams,
    *,
    seeds: int = 4,
    lanes: Sequence[Mapping[str, Any]] = (),
    scorers: Sequence[str] = (HAND,),
    exact: bool = False,
    capture: Capture | None = None,
    backend: str = "local",
) -> Bench:
    """Return a bench that nothing of has run.

    base: model, first seed, steps, guidance and all else; its prompt is not looked at. Every prompt has the same seeds,
    so that their share of the variance can be told (`diffatlas.bench.statistics.variance_shares`).
    seeds: 1 to 64. lanes: what further lanes change (`diffatlas.studies.plan_lanes.lanes_of`).
    scorers: by their names; "hand" is always among them.
    exact: whether every image is made alone, bit-equal to a single run, rather than in a batch.
    capture: what is kept of each image, which ``spec`` has then. backend: where ``base`` runs.

    Raises `InvalidParams` with the name of the argument, or of the field of ``base``, that is wrong.
    """
    base = base.replace(prompt=pack.tasks[0].prompt, seed=0 if base.seed is None else base.seed)
    seeds = whole("seeds", "The number of seeds", seeds, 1, MOST_SEEDS)
    if len(pack.tasks) > MOST_ROWS:
        raise InvalidParams(
            f"The pack has {len(pack.tasks)} prompts: a bench has at most {MOST_ROWS}.", field="pack"
        )
    if base.seed + seeds - 1 > MAX_SEED:
        raise InvalidParams(
            f"{seeds} seeds from {base.seed} on go beyond {MAX_SEED}: begin lower.", field="seed"
        )
    made = lanes_of(base, lanes, backend)
    spec = {"pack": pack.name, "seeds": seeds, "exact": bool(exact), "base": base.to_dict()}
    if capture is not None:
        spec["capture"] = capture.to_dict()
    title = f"{pack.title}, {len(pack.tasks)} prompts with {'1 seed' if seeds == 1 else f'{seeds} seeds'}"
    study = cells_of(pack, base, made, seeds, spec, title)
    return Bench(study, pack, tuple(dict.fromkeys([*scorers, HAND])))


def cells_of(
    pack: Pack,
    base: GenerationParams,
    lanes: Sequence[Lane],
    seeds: int,
    spec: Mapping[str, Any],
    title: str,
) -> Study:
    """Return the study of a bench, its cells waiting: a row a task, a column a seed. Raises `InvalidParams`."""
    of_lane = {lane.key: params_of(base, lane) for lane in lanes}

    def make(lane: Lane, row: int, column: int) -> Column:
        task, seed = pack.tasks[row], base.seed + column
        params = of_lane[lane.key].replace(prompt=task.prompt, seed=seed)
        return Column(seed, f"seed {seed}", f"{task.id}, seed {seed}", params)

    return lay_out("bench", title, spec, lanes, len(pack.tasks), seeds, make, "seeds", MOST_IMAGES)
