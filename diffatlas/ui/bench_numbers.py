"""A bench in numbers, as its page shows them: tables of rates, and what they mean in sentences."""

from __future__ import annotations

from diffatlas.bench.bench import HAND, Bench, judged
from diffatlas.bench.counted import Counted, count, differences
from diffatlas.bench.statistics import Rate
from diffatlas.bench.statistics.compared import Compared
from diffatlas.bench.statistics.words import found_words, p_words, rate_sentences
from diffatlas.errors import InvalidParams
from diffatlas.figures.bench_rates import MEAN
from diffatlas.ui.wire import bench as wire

#: What heads the columns of a table, with its entry of the glossary or what it means.
HEADS: tuple[tuple[str, str], ...] = (
    ("Correct", "share of images that are correct"),
    ("95% interval", "over prompts"),
    ("Any correct", "share of prompts with one correct image at least"),
    ("Images", "that were judged"),
    ("Prompts", "that they are of"),
    ("Alike", "correlation of two images of one prompt: 0 where they are independent"),
    ("Worth", "independent images that would say as much"),
    ("Not judged", "neither right nor wrong, and not counted"),
)


def counted_lanes(bench: Bench, scorer: str, by_hand: bool) -> dict[str, Counted]:
    """Return what a scorer's judgements come to, by the key of the lane; lanes without images are left out."""
    found = {}
    for lane in bench.study.lanes:
        said = judged(bench, scorer, lane.key, by_hand)
        if said:
            found[lane.key] = count(said)
    return found


def results(bench: Bench, by_hand: bool, names: dict[str, str]) -> wire.BenchResults:
    """Return the tables of all lanes and judges. names: of the lanes, by key."""
    judges = [name for name in bench_judges(bench) if name != HAND or bench.marks]
    tables: list[wire.ResultTable] = []
    between: list[str] = []
    for scorer in judges:
        lanes = counted_lanes(bench, scorer, by_hand)
        for key, counted in lanes.items():
            tables.append(_table(key, scorer, counted))
        first = next(iter(lanes), "")
        for key in [*lanes][1:]:
            between += _between(bench, scorer, (first, key), by_hand, names, len(judges) > 1)
    return {"heads": [list(head) for head in HEADS], "tables": tables, "between": between}


def bench_judges(bench: Bench) -> list[str]:
    """Return the names of all that judge a bench, the hand last."""
    names = [*bench.scorers, *bench.said]
    return [*dict.fromkeys(name for name in names if name != HAND), HAND]


def _table(lane: str, scorer: str, counted: Counted) -> wire.ResultTable:
    lines = [(line.tag, line.rate, line.unjudged) for line in counted.lines]
    unjudged = sum(line.unjudged for line in counted.lines)
    whole = counted.overall
    return {
        "lane": lane,
        "scorer": scorer,
        "lines": [{"tag": tag, "cells": _cells(rate, left)} for tag, rate, left in lines],
        "whole": {"tag": MEAN, "cells": _cells(whole, unjudged)},
        "sentences": [] if whole is None else rate_sentences(whole),
    }


def _cells(rate: Rate | None, unjudged: int) -> list[str]:
    if rate is None:
        return ["–", "–", "–", "0", "0", "–", "–", str(unjudged)]
    alike = "–" if rate.correlation is None else _number(rate.correlation)
    return [
        f"{rate.value:.2f}",
        f"{rate.low:.2f} to {rate.high:.2f}",
        f"{rate.any_correct:.2f}",
        str(rate.images),
        str(rate.prompts),
        alike,
        f"{rate.effective:.0f}",
        str(unjudged),
    ]


def _between(
    bench: Bench, scorer: str, lanes: tuple[str, str], by_hand: bool, names: dict[str, str], several: bool
) -> list[str]:
    try:
        whole, _ = differences(*(judged(bench, scorer, lane, by_hand) for lane in lanes))
    except InvalidParams:
        return []
    first, second = (names[lane] for lane in lanes)
    said = f"{second} minus {first}"
    return [f"{said}{f', by {scorer}' if several else ''}: {compared_words(whole)}"]


def compared_words(one: Compared) -> str:
    """Say a difference, its interval and p-value, and what could have been seen."""
    if not one.differ:
        return f"no difference on any of {one.prompts} prompts."
    found = found_words(one.detectable)
    if one.detectable < 1:
        found = f"a difference of {found} four times of five"
    return (
        f"{_number(one.difference, True)} ({_number(one.low, True)} to {_number(one.high, True)}), {p_words(one.p)}, "
        f"over {one.prompts} prompts; {found}."
    )


def _number(value: float, signed: bool = False) -> str:
    return f"{value:{'+' if signed else ''}.2f}".replace("-", "−")
