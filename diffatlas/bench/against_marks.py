"""A scorer held against marks by hand: how often it is right, and the rates that it would find without its errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from diffatlas.bench.agreeing import by_images, verdict_of
from diffatlas.bench.audit import Audit, Audited
from diffatlas.bench.judgements import Judged
from diffatlas.bench.statistics import Corrected, Rate, corrected_rate, rate
from diffatlas.errors import InvalidParams

#: What an audit against marks calls its two kinds of images, and all categories together.
RIGHT, WRONG, ALL = "correct by hand", "wrong by hand", "all images"
NOTHING = "Nothing could be judged."


@dataclass(frozen=True)
class CorrectedLine:
    """One category, or all images: the rate by the scorer, and freed of the errors that it makes there.

    marked: images of it that were marked by hand and judged by the scorer. why: what keeps the rate from being
    corrected; empty where it is.
    """

    tag: str
    rate: Rate | None
    corrected: Corrected | None
    marked: int
    why: str = ""


def audit_by_marks(judged: Sequence[Judged], marks: Sequence[Judged], level: float = 0.95) -> Audit:
    """Return how often a scorer passes what was marked as correct (sensitivity) and fails what was not (specificity).

    judged, marks: verdicts of the scorer and by hand, paired by prompt and number. Raises `InvalidParams` where they
    have no image in common.
    """
    pairs = _pairs(judged, marks)
    if not pairs:
        raise InvalidParams(
            "No image was marked by hand and judged by the scorer: give marks on the same prompts' images."
        )
    return _audit(pairs, level)


def corrected_lines(
    judged: Sequence[Judged], marks: Sequence[Judged], level: float = 0.95
) -> tuple[CorrectedLine, ...]:
    """Return the rates of all categories and of all images, each freed of the scorer's errors in it.

    The errors are those on the images that were marked, as many as they are worth where the images of a prompt are
    alike; the rate is that of all images that were judged.
    """
    tags = dict.fromkeys(one.task.tag for one in judged)
    lines = [_corrected(tag, [one for one in judged if one.task.tag == tag], marks, level) for tag in tags]
    return (*lines, _corrected(ALL, judged, marks, level))


def corrected_by(audit: Audit, judged: Sequence[Judged], level: float = 0.95) -> tuple[CorrectedLine, ...]:
    """Return the rates of all categories and of all images, freed of the errors that an audit found on its own scenes.

    That a scorer errs on these images as often as on the scenes is taken for granted: marks by hand on the images
    themselves say more (`corrected_lines`).
    """
    tags = dict.fromkeys(one.task.tag for one in judged)
    parts = [(tag, [one for one in judged if one.task.tag == tag]) for tag in tags]
    lines = []
    for tag, own in (*parts, (ALL, judged)):
        found = _rate(own, level)
        if found is None:
            lines.append(CorrectedLine(tag, None, None, 0, NOTHING))
            continue
        try:
            freed = corrected_rate(found, audit.passed_of_correct, audit.failed_of_wrong)
            lines.append(CorrectedLine(tag, found, freed, 0))
        except InvalidParams as error:
            lines.append(CorrectedLine(tag, found, None, 0, error.message))
    return tuple(lines)


def _rate(judged: Sequence[Judged], level: float) -> Rate | None:
    told = [(one.judgement.value, one.task.prompt) for one in judged if one.judgement.value is not None]
    return rate([value for value, _ in told], [prompt for _, prompt in told], level) if told else None


def _corrected(tag: str, judged: Sequence[Judged], marks: Sequence[Judged], level: float) -> CorrectedLine:
    found = _rate(judged, level)
    if found is None:
        return CorrectedLine(tag, None, None, 0, NOTHING)
    pairs = _pairs(judged, marks)
    audit = _audit(pairs, level)
    count = len(pairs) - sum(kind.unjudged for kind in audit.kinds)
    right, wrong = (kind.right for kind in audit.kinds)
    if right is None or wrong is None:
        which = "correct" if right is None else "wrong"
        return CorrectedLine(tag, found, None, count, f"No image that was judged is marked as {which}.")
    errors = [(one.value * one.effective, one.effective) for one in (right, wrong)]
    try:
        return CorrectedLine(tag, found, corrected_rate(found, errors[0], errors[1]), count)
    except InvalidParams as error:
        return CorrectedLine(tag, found, None, count, error.message)


def _pairs(judged: Sequence[Judged], marks: Sequence[Judged]) -> list[tuple[Judged, bool]]:
    """Each image that was marked, with whether it is correct by hand."""
    by_hand = {image: verdict_of(one) for image, one in by_images(marks).items()}
    return [
        (one, truth) for image, one in by_images(judged).items() if (truth := by_hand.get(image)) is not None
    ]


def _audit(pairs: Sequence[tuple[Judged, bool]], level: float) -> Audit:
    kinds, counts = [], []
    for name, truth in ((RIGHT, True), (WRONG, False)):
        own = [one for one, marked in pairs if marked == truth]
        told = [
            (float(said == truth), one.task.prompt) for one in own if (said := verdict_of(one)) is not None
        ]
        values = [value for value, _ in told]
        found = rate(values, [prompt for _, prompt in told], level) if told else None
        kinds.append(Audited(name, found, len(own) - len(told)))
        counts.append((round(sum(values)), len(values)))
    return Audit(tuple(kinds), counts[0], counts[1])
