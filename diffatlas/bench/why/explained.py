"""One image: its numbers beside those of the passing images of its prompt, and what to open next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from diffatlas.bench.why.case import Case
from diffatlas.bench.why.measured import Look, MeasuredPrompt, measure_prompt
from diffatlas.bench.why.measures import MEASURES, Measure, Pairs
from diffatlas.bench.why.sentences import apart, number
from diffatlas.errors import InvalidParams
from diffatlas.operations.features import Encoder
from diffatlas.params import GenerationParams


@dataclass(frozen=True)
class Beside:
    """A number of an image beside the median of the passing images of its prompt, itself left out.

    value: None where it is missing, and ``sentence`` says why. median: None where no other image passed.
    """

    measure: Measure
    value: float | None
    median: float | None
    sentence: str


@dataclass(frozen=True)
class Opening:
    """What to look at next.

    kind: "trajectory" of a run, "comparison" of two, "neighbourhood" of a request, "attention" of a run. runs: ids.
    params: the request that is asked. options: further choices, as the operation names them.
    """

    kind: Literal["trajectory", "comparison", "neighbourhood", "attention"]
    sentence: str
    runs: tuple[str, ...] = ()
    params: GenerationParams | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Explained:
    """What is known of one image. notes: on its verdict's company, its words and its group, a sentence each."""

    case: Case
    numbers: tuple[Beside, ...]
    notes: tuple[str, ...]
    openings: tuple[Opening, ...]


def explain(case: Case, others: Sequence[Case], encoder: Encoder | None = None) -> Explained:
    """Return what is known of one image beside the others of its prompt.

    others: the other images of the prompt, in any order; those of other prompts are left out.
    """
    same = [one for one in others if one.task.id == case.task.id and one.number != case.number]
    return explained(measure_prompt([case, *same], encoder), case.number)


def explained(measured: MeasuredPrompt, number: int) -> Explained:
    """Return the same of what was measured already. Raises `InvalidParams` for an image that there is not."""
    place = next((k for k, case in enumerate(measured.cases) if case.number == number), None)
    if place is None:
        raise InvalidParams(f"The prompt has no image {number}.", field="number")
    notes = (_company(measured, place), _words(measured.looks[place]), _group(measured, place))
    return Explained(
        measured.cases[place],
        tuple(_beside(one, measured, place) for one in MEASURES),
        tuple(note for note in notes if note),
        tuple(_openings(measured, place)),
    )


def _beside(measure: Measure, measured: MeasuredPrompt, place: int) -> Beside:
    found = measured.numbers(measure.key)
    own = found[place]
    passed = [
        value
        for k, value in enumerate(found)
        if k != place and measured.cases[k].failed is False and not isinstance(value, str)
    ]
    # Of a number of pairs the image is compared with the passing ones already.
    median = (
        float(np.median(passed)) if passed and not isinstance(measured.found[measure.key], Pairs) else None
    )
    if isinstance(own, str):
        return Beside(measure, None, median, f"{measure.name}: not known. {own}")
    said = f"{measure.name}: {number(measure, own)}"
    if median is None:
        return Beside(measure, own, None, f"{said}.")
    way = measure.more if own >= median else measure.less
    than = f"{apart(measure, own - median)} {way} than" if own != median else "as is"
    return Beside(
        measure,
        own,
        median,
        f"{said}, {than} the median of the prompt's passing images ({number(measure, median)}).",
    )


def _company(measured: MeasuredPrompt, place: int) -> str:
    others = [case.failed for k, case in enumerate(measured.cases) if k != place]
    if not others:
        return "It is the only image of its prompt: there is nothing to compare it with."
    passed, failed, unjudged = (others.count(verdict) for verdict in (False, True, None))
    several = f"{len(others)} other images" if len(others) > 1 else "one other image"
    said = f"Of the {several} of its prompt {passed} passed and {failed} failed"
    return f"{said}; {unjudged} could not be judged." if unjudged else f"{said}."


def _words(look: Look | str) -> str:
    if isinstance(look, str):
        return ""
    one, other = look.alike
    shares = ", ".join(f"“{w}” {s:.0f}%" for w, s in zip(look.words, look.shares, strict=True))
    most = f"“{one}” and “{other}” look at the same places most (overlap {look.overlap:.2f})"
    return f"{most}. Attention to the objects: {shares}."


def _group(measured: MeasuredPrompt, place: int) -> str:
    groups = measured.groups
    if isinstance(groups, str) or groups.labels[place] is None:
        return ""
    if groups.count == 1:
        return f"By {groups.by} nothing tells the images of its prompt from one group."
    own = [k for k, label in enumerate(groups.labels) if label == groups.labels[place] and k != place]
    verdicts = [measured.cases[k].failed for k in own]
    said = f"By {groups.by} the images of its prompt fall into {groups.count} groups"
    if not own:
        return f"{said}; it is alone in its own."
    passed, failed = verdicts.count(False), verdicts.count(True)
    others = f"of the {len(own)} others" if len(own) > 1 else "of the one other"
    return f"{said}; {others} in its own {passed} passed and {failed} failed."


def _openings(measured: MeasuredPrompt, place: int) -> list[Opening]:
    case = measured.cases[place]
    params = measured.asked[place]
    found = [Opening("trajectory", "Its path, step by step.", (case.run.id,))]
    passed = next((k for k, one in enumerate(measured.cases) if one.failed is False and k != place), None)
    if passed is not None:
        other = measured.asked[passed]
        seed = f", {other.seed_words}" if other is not None else ""
        found.append(
            Opening(
                "comparison",
                f"Its path beside that of a passing image of the prompt{seed}.",
                (case.run.id, measured.cases[passed].run.id),
            )
        )
    found.append(
        Opening(
            "neighbourhood",
            "Its neighbours: whether noise that is near gives the same image, or another group begins close by.",
            (case.run.id,),
            params,
            {"mode": "perturb"},
        )
    )
    look = measured.looks[place]
    if isinstance(look, Look):
        words = look.alike
        second = look.words[1]
        found.append(
            Opening(
                "attention",
                f"Where “{second}” looked, and where “{words[0]}” and “{words[1]}” look at the same places.",
                (case.run.id,),
                options={"words": [*dict.fromkeys((second, *words))]},
            )
        )
    else:
        found.append(
            Opening(
                "attention",
                f"Where its words look. {look}",
                (case.run.id,),
                params,
                {"attention": "cross"},
            )
        )
    return found
