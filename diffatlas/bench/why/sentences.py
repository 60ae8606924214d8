"""What was found, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from diffatlas.bench.statistics import Within
from diffatlas.bench.statistics.words import p_words
from diffatlas.bench.why.basins import Grouped
from diffatlas.bench.why.measured import MeasuredPrompt
from diffatlas.bench.why.measures import Measure

#: A p-value below this is called more than chance.
LEVEL = 0.05


def of_measure(measure: Measure, within: Within, adjusted: float | None, measures: int) -> str:
    """Return a sentence on how failing images differ from passing ones of the same prompt."""
    way = measure.more if within.difference >= 0 else measure.less
    chance = ""
    if adjusted is not None:
        after = f" after Holm's adjustment for {measures} measures" if measures > 1 else ""
        chance = f"; {p_words(adjusted)}{after}"
        chance += ", so it may be chance" if adjusted > LEVEL else ""
    return (
        f"Failing images {measure.said} {apart(measure, within.difference)} {way} than passing images of the same "
        f"prompt ({within.level:.0%} interval {_interval(measure, within.low, within.high)}; {within.prompts} prompts"
        f"{chance})."
    )


def undetermined(measure: Measure, reason: str) -> str:
    """Return a sentence on why the verdicts cannot be compared by a measure that is known. reason: a sentence."""
    return f"{measure.name}: failing and passing images cannot be compared. {reason}"


def unknown(measure: Measure, known: Sequence[float], missing: Mapping[str, int]) -> str:
    """Return a sentence on a measure that is not known of any image, or of all the same."""
    if known:
        return f"{measure.name}: {number(measure, known[0])} for all images, so that it tells nothing."
    most = max(missing, key=lambda reason: missing[reason], default="No image could be judged.")
    return f"{measure.name}: not known of any image that was judged. {most}"


def of_groups(measured: Sequence[MeasuredPrompt], prompts: int) -> str:
    """Return a sentence on the groups of the prompts' images. measured: the prompts whose groups are known."""
    if not measured:
        return f"Groups of images are not known of any of the {prompts} prompts: that takes four images of a prompt."
    several = [one for one in measured if isinstance(one.groups, Grouped) and one.groups.count > 1]
    split = sum(
        {case.failed for case, label in zip(one.cases, one.groups.labels, strict=True) if label == group}
        >= {True, False}
        for one in several
        for group in range(one.groups.count)
    )
    said = f"The images of {len(several)} of {len(measured)} prompts fall into several groups (basins)"
    if not several:
        return f"{said}: nothing tells the images of a prompt from one cloud."
    return f"{said}; {split} of those groups hold both failing and passing images."


def of_method(seeds: int, mixed: int, prompts: int) -> str:
    """Return what is compared. seeds: how many several prompts share. mixed: prompts with both verdicts, of all."""
    said = "Failing images are compared with passing ones of the same prompt, each prompt's mean taken away"
    also = f", and what each of the {seeds} seeds does to all prompts" if seeds else ""
    return f"{said}{also}. {mixed} of {prompts} prompts have both verdicts; the others tell nothing of it."


def number(measure: Measure, value: float) -> str:
    """Return a number with its unit."""
    return f"{value:.3g}{measure.unit}"


def apart(measure: Measure, value: float) -> str:
    """Return the size of a difference with its unit."""
    return f"{abs(value):.3g}{measure.between}"


def _interval(measure: Measure, low: float, high: float) -> str:
    if low < 0 < high:
        return f"{apart(measure, low)} {measure.less} to {apart(measure, high)} {measure.more}"
    least, most = sorted((abs(low), abs(high)))
    return f"{least:.3g} to {apart(measure, most)}"
