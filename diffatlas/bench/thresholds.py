"""Judgements by a cosine, as they would be with another threshold: the model is not asked again."""

from __future__ import annotations

from dataclasses import replace

from diffatlas.bench.bench import Bench, check_scorer
from diffatlas.bench.kept import Benches
from diffatlas.bench.scorers.clip import with_threshold
from diffatlas.errors import InvalidParams


def judge_with_threshold(bench: Bench, scorer: str, threshold: float, benches: Benches) -> None:
    """Judge the images of a bench again by the cosines that a scorer has left, and keep that.

    Raises `InvalidParams` for a scorer that the bench was not judged by, one that leaves no cosines, a threshold that
    is none, and while the bench runs.
    """
    check_scorer(bench, scorer)
    said, card = bench.said.get(scorer, {}), bench.cards.get(scorer)
    if card is None or not said:
        raise InvalidParams(f"{scorer} has judged no image yet: let it judge first.", field="scorer")
    if benches.is_running(bench.id):
        raise InvalidParams("This bench is running: wait until it has ended, or stop it.", field="scorer")
    judged = {
        key: one if one.verdict == "cannot judge" else with_threshold(one, threshold)
        for key, one in said.items()
    }
    options = {**bench.options.get(scorer, {}), "threshold": threshold}
    card = replace(card, settings={**card.settings, "threshold": threshold})
    benches.judge_with(bench.id, scorer, card, options)
    benches.say(bench.id, scorer, judged)


def threshold_of(bench: Bench, scorer: str) -> float | None:
    """Return the threshold that a scorer held its cosines against; None where it has none."""
    card = bench.cards.get(scorer)
    threshold = None if card is None else card.settings.get("threshold")
    cosines = any("cosine" in one.evidence for one in bench.said.get(scorer, {}).values())
    return float(threshold) if cosines and isinstance(threshold, (int, float)) else None
