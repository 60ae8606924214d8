"""What do the statistics of the Bench say of GenEval's human marks, and what would those of single images have said?

FOLDER is a copy of GenEval's data: ``evaluation_metadata.jsonl`` and the authors' ``annotations_*.csv``. Of each
model's marks: the correlation within prompts and the design effect, how often an interval over images and one over
prompts covers the rate when prompts are drawn again, and how often two tests reject at 5% when the names of two models
are exchanged prompt by prompt. Run from the project's root::

    python -m benchmarks.geneval_marks FOLDER

Without a folder the marks are drawn, with the correlation that GenEval's have.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from scipy.stats import binomtest

from benchmarks.rounds import Short
from diffatlas.bench.packs.geneval import read_metadata
from diffatlas.bench.packs.geneval_marks import Marked, read_marks
from diffatlas.bench.statistics import agreement, compare, rate
from diffatlas.geometry.shares import wilson

PROMPTS, IMAGES = 100, 4


def main(folder: Annotated[Path | None, typer.Argument()] = None, short: Short = False) -> None:
    """Print a line a model, then the tests on pairs of models, then the agreement of those who marked."""
    tables = drawn() if folder is None else read(folder)
    trials = 40 if short else 1000
    random = np.random.default_rng(0)
    print("model\trate\tcorrelation\tdesign effect\tworth\tcovered, over images\tcovered, over prompts")
    for name, table in tables.items():
        found = rate(table.ravel(), prompts_of(table))
        single, ours = coverage(table, trials, random)
        print(
            f"{name}\t{found.value:.3f}\t{found.correlation:.2f}\t{found.design_effect:.2f}"
            f"\t{found.effective:.0f} of {table.size}\t{single:.3f}\t{ours:.3f}"
        )
    print("\npair\trejected by McNemar over images\trejected by sign-flips over prompts")
    for (one, first), (other, second) in itertools.combinations(tables.items(), 2):
        single, ours = rejections(first, second, trials, random)
        print(f"{one}, {other}\t{single:.3f}\t{ours:.3f}")
    if folder is not None:
        people(folder)


def coverage(table: np.ndarray, trials: int, random: np.random.Generator) -> tuple[float, float]:
    """How often intervals of 95% hold the rate of (P, I) verdicts when the prompts are drawn again."""
    truth, held = table.mean(), np.zeros(2)
    for _ in range(trials):
        again = table[random.integers(0, len(table), len(table))]
        low, high = wilson(again.mean(), again.size)
        found = rate(again.ravel(), prompts_of(again))
        held += low <= truth <= high, found.low <= truth <= found.high
    return tuple(held / trials)


def rejections(
    first: np.ndarray, second: np.ndarray, trials: int, random: np.random.Generator
) -> tuple[float, float]:
    """How often two tests reject at 5% where the models' names are exchanged prompt by prompt: a true null."""
    rejected = np.zeros(2)
    for _ in range(trials):
        flip = random.random(len(first)) < 0.5
        left, right = (np.where(flip[:, None], a, b) for a, b in ((first, second), (second, first)))
        only = int((left > right).sum()), int((right > left).sum())
        single = binomtest(only[0], sum(only)).pvalue if sum(only) else 1.0
        ours = compare((left.ravel(), prompts_of(left)), (right.ravel(), prompts_of(right)), draws=500).p
        rejected += single <= 0.05, ours <= 0.05
    return tuple(rejected / trials)


def prompts_of(table: np.ndarray) -> list[int]:
    """The number of the prompt of each verdict."""
    return np.repeat(np.arange(len(table)), table.shape[1]).tolist()


def read(folder: Path) -> dict[str, np.ndarray]:
    """The majority's verdicts of each model, (P, I)."""
    tables = {}
    for path, marked in marks(folder):
        by_prompt: dict[str, list[bool]] = {}
        for one in marked:
            by_prompt.setdefault(one.task.id, []).append(one.majority)
        tables[path.stem.removeprefix("annotations_")] = np.array(list(by_prompt.values()), dtype=float)
    return tables


def marks(folder: Path) -> list[tuple[Path, list[Marked]]]:
    """The marked images of each file."""
    pack = read_metadata(folder / "evaluation_metadata.jsonl")
    found = [(path, read_marks(path, pack)[0]) for path in sorted(folder.glob("annotations_*.csv"))]
    if not found:
        raise SystemExit(f"{folder} has no annotations_*.csv.")
    return found


def people(folder: Path) -> None:
    """Print how far those who marked agree, over all and by category."""
    found = [one for _, marked in marks(folder) for one in marked]
    print("\ncategory\timages\traw agreement\tFleiss' kappa\tGwet's AC1")
    for tag in ("all", *dict.fromkeys(one.task.tag for one in found)):
        own = agreement([one.passed for one in found if tag in ("all", one.task.tag)])
        print(f"{tag}\t{own.images}\t{own.raw:.2f}\t{own.kappa:.2f}\t{own.ac1:.2f}")


def drawn() -> dict[str, np.ndarray]:
    """Verdicts of three models, of the correlation that GenEval's marks have."""
    random = np.random.default_rng(1)
    chances = random.beta(0.5, 0.5, (3, PROMPTS))
    return {
        f"drawn {k}": (random.random((PROMPTS, IMAGES)) < chance[:, None]).astype(float)
        for k, chance in enumerate(chances)
    }


if __name__ == "__main__":
    typer.run(main)
