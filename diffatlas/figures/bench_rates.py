"""Rates of a bench: the share of images that are correct, by category, of one bench or of several."""

from __future__ import annotations

from collections.abc import Mapping

from diffatlas.bench.counted import Counted, Line
from diffatlas.bench.statistics import Rate
from diffatlas.errors import InvalidParams
from diffatlas.figures.bench_rows import (
    SHARES,
    WHOLE,
    Point,
    Rows,
    counted_words,
    draw_points,
    lay_rows,
    letters_of,
    note,
    one_chart,
    rate_words,
    write,
)
from diffatlas.figures.figure import Figure, figure
from diffatlas.figures.template import ground

MEAN = "mean of categories"
NOTHING = "nothing could be judged"


def bench_rates(
    benches: Mapping[str, Counted], title: str = "Correct by category", dark: bool = False, across: int = 3
) -> Figure:
    """Return the rate of each category with its interval, last the mean of the categories.

    benches: what `diffatlas.bench.counted.count` returns, by the name of the bench or lane; several are drawn beneath
    each other in each row, apart by colour and symbol. Categories come in the order of the first bench that has them.
    across: charts of a page as wide as this one's that lie beside each other; on a narrow one, 1, long names are cut.

    Raises `InvalidParams` where there is no bench.
    """
    if not benches:
        raise InvalidParams("There is no bench to draw: give one.")
    tags = [*dict.fromkeys(line.tag for counted in benches.values() for line in counted.lines)]
    several = len(benches) > 1
    lines = {name: {line.tag: line for line in own.lines} for name, own in benches.items()}
    only = next(iter(benches.values()))
    values = () if several else (*map(_value, only.lines), _value(Line(MEAN, only.overall, 0)))
    told = _told(benches)
    made = figure("bench_rates", title, " ".join(told), _spoken(benches, told), dark)
    write(made, told, benches)
    rows = Rows((*tags, MEAN), len(benches), values)
    axes = one_chart(made, rows.height, several)
    lay_rows(made, axes, rows, WHOLE, SHARES, "share of images that are correct", dark, letters_of(across))
    muted = ground(dark).muted
    for place, (name, counted) in enumerate(benches.items()):
        points = []
        for row, tag in enumerate([*tags, MEAN]):
            line = lines[name].get(tag)
            found = counted.overall if row == len(tags) else line and line.rate
            if found is not None:
                points.append(
                    Point(row, found.value, found.low, found.high, _pointed(name, tag, line, found))
                )
            elif line is not None or row == len(tags):
                lacking = f": {counted_words(line.unjudged, 'image')}" if line is not None else ""
                note(made, axes, rows.at(row, place), f"{NOTHING}{lacking}", muted, 10)
            else:
                note(made, axes, rows.at(row, place), "no such category", muted, 10)
        draw_points(made, axes, rows, name, points, place, several, dark, {"measure": "rate"})
    return made


def _value(line: Line) -> str:
    """What is written after the name of a row of one bench."""
    if line.rate is None:
        return ""
    return f": {rate_words(line.rate)}" + (f", {line.unjudged} not judged" if line.unjudged else "")


def _pointed(name: str, tag: str, line: Line | None, found: Rate) -> str:
    said = f"{name}, {tag}: {rate_words(found)} of {counted_words(found.images, 'image')}"
    said += f", {counted_words(found.prompts, 'prompt')}"
    return said + (f"; {line.unjudged} not judged" if line is not None and line.unjudged else "")


def _told(benches: Mapping[str, Counted]) -> list[str]:
    level = next(iter(benches.values())).level
    about = (
        f"Share of images that are correct, with intervals of {level:.0%} over prompts. Last the mean of the"
    )
    about += " categories."
    told = [about]
    for name, counted in benches.items():
        known = [line for line in counted.lines if line.rate is not None]
        if counted.overall is None or not known:
            told.append(f"{name}: {NOTHING}.")
            continue
        whole = counted.overall
        said = f"{name}: {rate_words(whole)} over {counted_words(whole.images, 'image')} of"
        said += f" {counted_words(whole.prompts, 'prompt')}"
        best = max(known, key=lambda line: line.rate.value)
        worst = min(known, key=lambda line: line.rate.value)
        if best.rate.value > worst.rate.value:
            said += f"; best {best.tag}, {best.rate.value:.2f}, worst {worst.tag}, {worst.rate.value:.2f}"
        told.append(f"{said}. {_unjudged(counted)}".strip())
    return told


def _unjudged(counted: Counted) -> str:
    lacking = [
        f"all {line.unjudged:,} of {line.tag}" if line.rate is None else f"{line.unjudged:,} of {line.tag}"
        for line in counted.lines
        if line.unjudged
    ]
    return f"Not judged, and not counted: {', '.join(lacking)}." if lacking else ""


def _spoken(benches: Mapping[str, Counted], told: list[str]) -> str:
    said = [*told]
    for name, counted in benches.items():
        values = [
            f"{line.tag} {NOTHING if line.rate is None else rate_words(line.rate)}" for line in counted.lines
        ]
        said.append(f"{name}, by category: {'; '.join(values)}.")
    return " ".join(said)
