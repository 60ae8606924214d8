"""Benches as they are stored once they have run, made without a model."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from diffatlas.bench.bench import Bench
from diffatlas.bench.judgements import Card, Judgement
from diffatlas.bench.plan import plan_bench
from diffatlas.bench.tasks import Pack
from diffatlas.library import Library
from diffatlas.library.study import Cell
from diffatlas.params import GenerationParams

BASE = GenerationParams(model="shapes", prompt="", seed=5, num_inference_steps=2)
CARD = Card("shapes", "The exact detector of the shapes.", revision="1")


def stored_bench(
    library: Library,
    pack: Pack,
    judge: Callable[[Cell], Judgement | None],
    *,
    seeds: int = 2,
    lanes: Sequence[dict] = (),
    card: Card = CARD,
    base: GenerationParams = BASE,
) -> Bench:
    """Store a bench whose images are there, one colour each; ``judge(cell)`` is what its scorer says of each."""
    bench = plan_bench(pack, base, seeds=seeds, lanes=lanes, scorers=[card.name])
    cells = tuple(replace(cell, status="complete", image=True, seconds=0.1) for cell in bench.study.cells)
    study = replace(bench.study, cells=cells, status="complete")
    library.benches.create(bench)
    library.benches.save(study)
    for number, cell in enumerate(cells):
        colour = (37 * number % 256, 91 * number % 256, 160)
        library.benches.save_image(bench.id, cell.key, np.full((16, 16, 3), colour, np.uint8))
    library.benches.judge_with(bench.id, card.name, card)
    said = {cell.key: judge(cell) for cell in cells}
    library.benches.say(bench.id, card.name, {key: one for key, one in said.items() if one is not None})
    return library.benches.open(bench.id)


def verdict(right: bool) -> Judgement:
    """Return a pass, or a fail with a reason."""
    return Judgement("pass") if right else Judgement("fail", ("expected something else",))
