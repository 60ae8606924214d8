"""Verdicts that are made up: benches of a few prompts whose numbers are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from diffatlas.bench.judgements import Judged, Judgement, Verdict
from diffatlas.bench.tasks import Include, Task

VERDICTS: dict[str, Verdict] = {"p": "pass", "f": "fail", "-": "cannot judge"}


def bench(categories: Mapping[str, Sequence[str]]) -> list[Judged]:
    """Judgements by category: a text a prompt, a letter an image ("p" passed, "f" failed, "-" not judged)."""
    return [
        Judged(
            Task(id=f"{tag}-{k}", prompt=f"{tag} {k}", tag=tag, include=(Include(noun="dog"),) * (1 + k % 3)),
            number,
            Judgement(VERDICTS[letter], () if letter == "p" else ("why not",)),
        )
        for tag, prompts in categories.items()
        for k, letters in enumerate(prompts)
        for number, letter in enumerate(letters)
    ]


def drawn(
    chance: float, seed: int, tags: Sequence[str] = ("colour", "count", "place"), prompts: int = 8
) -> list[Judged]:
    """Judgements of four images a prompt that pass with a chance."""
    random = np.random.default_rng(seed)
    passed = random.random((len(tags), prompts, 4)) < chance
    letters = {
        tag: ["".join("fp"[k] for k in row.astype(int)) for row in own]
        for tag, own in zip(tags, passed, strict=True)
    }
    return bench(letters)
