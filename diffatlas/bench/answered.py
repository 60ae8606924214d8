"""The answers to a task's questions as a judgement of its image: Soft-TIFA's two means, and a verdict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from diffatlas.bench.judgements import Judgement
from diffatlas.bench.questions import arithmetic_mean, counted_answers, geometric_mean
from diffatlas.bench.tasks import Question, Task

Mean = Literal["arithmetic", "geometric"]
Dependencies = Literal["cascading", "direct"]


def judge_answers(
    task: Task,
    right: Mapping[str, float],
    mean: Mean = "arithmetic",
    dependencies: Dependencies = "cascading",
    more: Mapping[str, Mapping[str, Any]] | None = None,
) -> Judgement:
    """Return the judgement that answers amount to: a pass where each question counts one half at least.

    right: by the id of a question, how probable the right answer is, 0 to 1. mean: which of the two is the score; both
    are in the evidence, with each question. more: what else is known of a question, by its id, for the evidence.

    Raises `InvalidParams` for a question without an answer.
    """
    counted = counted_answers(task.questions, right, dependencies)
    values = [*counted.values()]
    means = {"arithmetic": arithmetic_mean(values), "geometric": geometric_mean(values)}
    reasons = tuple(_reason(one, right, counted) for one in task.questions if counted[one.id] < 0.5)
    answers = [
        {
            "id": one.id,
            "question": one.text,
            "expected": one.expected,
            "probability": right[one.id],
            "counted": counted[one.id],
            **((more or {}).get(one.id, {})),
        }
        for one in task.questions
    ]
    return Judgement(
        "fail" if reasons else "pass",
        reasons,
        score=means[mean],
        evidence={"answers": answers, "means": means},
    )


def _reason(question: Question, right: Mapping[str, float], counted: Mapping[str, float]) -> str:
    if right[question.id] >= 0.5 > counted[question.id]:
        return f"{question.text} does not count: what it depends on was answered wrongly"
    return f"{question.text} expected {question.expected}, which is {right[question.id]:.2f} probable"
