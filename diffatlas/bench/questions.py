"""From answers to questions about an image to a score of the image."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from diffatlas.bench.tasks import Question
from diffatlas.errors import InvalidParams


def counted_answers(
    questions: Sequence[Question], right: Mapping[str, float], dependencies: str = "cascading"
) -> dict[str, float]:
    """Return what each question counts, 0 to 1: what was answered, and 0 where what it depends on was answered wrongly.

    cascading: so is what depends on that (DPG-Bench, Hu et al. 2024, arXiv 2403.05135); direct: only the parents' own
    answers matter (OneIG-Bench, Chang et al. 2025, arXiv 2506.07977). An answer below one half is wrong.

    right: by the id of a question, whether it was answered rightly (0 or 1), or with what probability. Raises
    `InvalidParams` for a question without an answer, and for another word than those two.
    """
    if dependencies not in ("cascading", "direct"):
        raise InvalidParams(
            f"Dependencies are 'cascading' or 'direct', and not {dependencies!r}.", field="dependencies"
        )
    missing = [question.id for question in questions if question.id not in right]
    if missing:
        raise InvalidParams(f"Question {missing[0]!r} was not answered: a score wants an answer to each.")
    parents = {question.id: question.parents for question in questions}
    counted: dict[str, float] = {}

    def value(name: str) -> float:
        if name not in counted:
            above = [value(one) if dependencies == "cascading" else right[one] for one in parents[name]]
            counted[name] = float(right[name]) if all(one >= 0.5 for one in above) else 0.0
        return counted[name]

    return {question.id: value(question.id) for question in questions}


def arithmetic_mean(probabilities: Sequence[float]) -> float:
    """Return Soft-TIFA's arithmetic mean of the answers' probabilities: how much of the prompt is there.

    Kamath et al. 2025 (GenEval 2, arXiv 2512.16853). Raises `InvalidParams` where there are none.
    """
    return math.fsum(_checked(probabilities)) / len(probabilities)


def geometric_mean(probabilities: Sequence[float]) -> float:
    """Return Soft-TIFA's geometric mean: whether all of the prompt is there. 0 where one probability is.

    Of logarithms, so that many small ones do not underflow. Raises as `arithmetic_mean`.
    """
    held = _checked(probabilities)
    if min(held) == 0:
        return 0.0
    return math.exp(math.fsum(math.log(one) for one in held) / len(held))


def _checked(probabilities: Sequence[float]) -> list[float]:
    held = [float(one) for one in probabilities]
    if not held:
        raise InvalidParams("There are no answers to take the mean of.")
    if not all(0 <= one <= 1 for one in held):
        raise InvalidParams("A probability is not from 0 to 1.")
    return held
