"""The measures of all images of a bench, prompt by prompt."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from diffatlas.bench.statistics import Verdicts
from diffatlas.bench.why.attention import Looked
from diffatlas.bench.why.basins import Grouped, grouped
from diffatlas.bench.why.case import Case, Found
from diffatlas.bench.why.measures import MEASURES, Pairs, Prompt
from diffatlas.bench.why.reading import Reading
from diffatlas.operations.features import Encoder
from diffatlas.params import GenerationParams
from diffatlas.stopping import look


@dataclass(frozen=True)
class Look:
    """What is kept of where a run looked for its objects: their words and shares in percent, and which two overlap."""

    words: tuple[str, ...]
    shares: tuple[float, ...]
    alike: tuple[str, str]
    overlap: float


@dataclass(frozen=True)
class MeasuredPrompt:
    """The images of one prompt and what was measured of them, by the key of the measure.

    looks: of each image; why there is none, where there is none. asked: what was asked of each, None where that cannot
    be read.
    """

    cases: tuple[Case, ...]
    found: Mapping[str, Sequence[Found] | Pairs]
    groups: Grouped | str
    looks: tuple[Look | str, ...]
    asked: tuple[GenerationParams | None, ...]

    def verdicts(self, key: str) -> Verdicts:
        """Return the numbers of the images that could be judged, as the statistics take them."""
        at = [k for k, case in enumerate(self.cases) if case.failed is not None]
        failed = np.array([bool(self.cases[k].failed) for k in at], dtype=bool)
        found = self.found[key]
        if isinstance(found, Pairs):
            values = found.table[np.ix_(at, at)]
        else:
            values = np.array([_number(found[k]) for k in at], dtype=np.float64)
        seeds = tuple(getattr(self.asked[k], "seed", None) for k in at)
        return Verdicts(self.cases[0].task.id, failed, values, seeds)

    def numbers(self, key: str) -> list[Found]:
        """Return the number of every image, or why it has none.

        One that could not be judged is compared with those that passed, as one that failed is.
        """
        found = self.found[key]
        if not isinstance(found, Pairs):
            return list(found)
        passed = [k for k, case in enumerate(self.cases) if case.failed is False]
        numbers: list[Found] = []
        for k, missing in enumerate(found.missing):
            others = [float(found.table[k, j]) for j in passed if j != k and np.isfinite(found.table[k, j])]
            numbers.append(missing or (float(np.mean(others)) if others else NONE_PASSED))
        return numbers


NONE_PASSED = "No other image of its prompt passed."


def measure(
    cases: Sequence[Case],
    encoder: Encoder | None = None,
    told: Callable[[float], None] = lambda share: None,
) -> Iterator[MeasuredPrompt]:
    """Yield what is measured of each prompt's images (`MEASURES`), in the order in which the prompts come.

    The runs of one prompt are read at a time. encoder: what tells pictures apart for the groups, their colours
    without one. told: is given the share that is done.
    """
    prompts: dict[str, list[Case]] = {}
    for case in cases:
        prompts.setdefault(case.task.id, []).append(case)
    for number, own in enumerate(prompts.values(), start=1):
        look()
        yield measure_prompt(own, encoder)
        told(number / len(prompts))


def measure_prompt(cases: Sequence[Case], encoder: Encoder | None = None) -> MeasuredPrompt:
    """Return what is measured of the images of one prompt."""
    images = tuple(Reading(case) for case in cases)
    prompt = Prompt(images, grouped(images, encoder))
    found = {one.key: one.of(prompt) for one in MEASURES}
    looks, asked = tuple(_look(one) for one in images), tuple(one.params for one in images)
    return MeasuredPrompt(tuple(cases), found, prompt.groups, looks, asked)


def _look(image: Reading) -> Look | str:
    looked = image.looked
    if not isinstance(looked, Looked):
        return looked
    one, other, most = looked.most_alike
    shares = tuple((100 * looked.shares).tolist())
    return Look(tuple(each.words for each in looked.objects), shares, (one.words, other.words), most)


def _number(found: Found) -> float:
    return np.nan if isinstance(found, str) else found
