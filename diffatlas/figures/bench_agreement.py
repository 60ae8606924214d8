"""Agreement of those who judged the same images: raw, Fleiss' kappa and Gwet's AC1, by category."""

from __future__ import annotations

from collections.abc import Sequence

from diffatlas.bench.agreeing import AgreedLine, Pair
from diffatlas.bench.statistics import Agreement
from diffatlas.errors import InvalidParams
from diffatlas.figures.bench_rows import (
    EDGE,
    FOOT,
    Point,
    Rows,
    counted_words,
    draw_points,
    lay_rows,
    letters_of,
    note,
    write,
)
from diffatlas.figures.figure import Figure, figure
from diffatlas.figures.panels import AXIS_TITLE, lay_out
from diffatlas.figures.template import ground

#: The measures: their names in `Agreement`, and as a reader calls them.
MEASURES = {"raw": "Raw agreement", "kappa": "Fleiss’ kappa", "ac1": "Gwet’s AC1"}
UNDEFINED = "undefined: all marks are equal"
ABOUT = (
    "Raw: the share of pairs of marks on one image that are alike. Kappa and AC1: 1 is perfect, 0 what chance alone"
    " would give. Where nearly all marks are equal kappa falls to 0 however well they agree; AC1 does not. Lines are"
    " intervals of 95% over prompts."
)
#: From such a share of one mark on kappa is said not to tell.
EXTREME = 0.9


def bench_agreement(
    pairs: Sequence[Pair], title: str = "Agreement", dark: bool = False, across: int = 3
) -> Figure:
    """Return three charts, one for each measure, of the agreement by category, last over all images.

    pairs: what `diffatlas.bench.agreeing.agree` and `among` return; several are apart by colour and symbol. A kappa
    that is undefined is written as such. across: charts in a row. Raises `InvalidParams` where there is no pair.
    """
    if not pairs:
        raise InvalidParams("There is no agreement to draw: give the verdicts of two at least.")
    several = len(pairs) > 1
    tags = [*dict.fromkeys(line.tag for pair in pairs for line in pair.lines), pairs[0].overall.tag]
    found = [{line.tag: line for line in (*pair.lines, pair.overall)} for pair in pairs]
    told = [ABOUT, *(f"{pair.name}: {_sentence(pair)}" for pair in pairs)]
    spoken = " ".join([*told, *(_listed(pair) for pair in pairs)])
    made = figure("bench_agreement", title, " ".join(told), spoken, dark)
    write(made, told, [pair.name for pair in pairs])
    rows = Rows(tuple(tags), len(pairs))
    across = max(1, min(across, len(MEASURES)))
    # Of charts beneath each other the gaps are taken from their rows.
    height = rows.height if across == len(MEASURES) else rows.height + 32
    grid = lay_out(made, [*MEASURES.values()], across, height, foot=AXIS_TITLE)
    low = min([0.0, *(end for own in found for line in own.values() for end in _lows(line.agreement))])
    low = -1.0 if low < -0.5 else -0.5 if low < -0.05 else -0.05 if low < 0 else 0.0
    for (name, label), axes in zip(MEASURES.items(), grid, strict=True):
        start = 0.0 if name == "raw" else low
        ticks = [tick for tick in (-1, -0.5, 0, 0.25, 0.5, 0.75, 1) if tick >= start]
        letters = letters_of(across, len(MEASURES))
        lay_rows(made, axes, rows, (start - EDGE, 1 + EDGE), ticks, label, dark, letters)
        for place, (pair, own) in enumerate(zip(pairs, found, strict=True)):
            points = []
            for row, tag in enumerate(tags):
                point, lacking = _point(pair, own.get(tag), name, row)
                if point is not None:
                    points.append(point)
                else:
                    note(made, axes, rows.at(row, place), lacking, ground(dark).muted, 10)
            listed = several and name == "raw"
            draw_points(made, axes, rows, pair.name, points, place, listed, dark, {"measure": name})
    plots = made.layout.height - made.layout.margin.t - made.layout.margin.b
    made.update_layout(
        height=made.layout.height + FOOT - made.layout.margin.b,
        margin_b=FOOT,
        margin_l=12,
        legend_y=-52 / plots,
        showlegend=several,
        hovermode="closest",
    )
    return made


def _point(pair: Pair, line: AgreedLine | None, name: str, row: int) -> tuple[Point | None, str]:
    """The value of a measure in a row, or why there is none."""
    if line is None:
        return None, "no such category"
    if line.agreement is None:
        return None, "no image with two marks"
    value = getattr(line.agreement, name)
    if value is None:
        return None, UNDEFINED
    low, high = (line.agreement.intervals or {}).get(name, (value, value))
    said = f"{pair.name}, {line.tag}: {value:.2f} ({low:.2f} to {high:.2f})"
    said += f" on {counted_words(line.agreement.images, 'image')}"
    return Point(row, value, low, high, said + (f"; {line.unjudged} not judged" if line.unjudged else "")), ""


def _lows(one: Agreement | None) -> list[float]:
    if one is None:
        return []
    ends = [low for low, _ in (one.intervals or {}).values()]
    return [*ends, *(value for value in (one.kappa, one.ac1) if value is not None)]


def _sentence(pair: Pair) -> str:
    one = pair.overall.agreement
    if one is None:
        return "no image has two marks."
    images = counted_words(one.images, "image")
    said = f"{one.raw:.2f} alike on {images}, {_kappa(one)}, AC1 {one.ac1:.2f}."
    known = [line for line in pair.lines if line.agreement is not None]
    undefined = [line.tag for line in known if line.agreement.kappa is None]
    if undefined:
        said += f" Kappa is undefined for {', '.join(undefined)}, whose marks are all equal."
    extreme = [
        line.tag
        for line in known
        if line.agreement.kappa is not None and max(line.agreement.shares.values()) >= EXTREME
    ]
    if extreme:
        said += f" Kappa tells little of {', '.join(extreme)}, where nearly all marks are equal."
    if pair.overall.unjudged:
        said += f" {counted_words(pair.overall.unjudged, 'image')} lacked a mark."
    return said


def _kappa(one: Agreement) -> str:
    return "kappa undefined" if one.kappa is None else f"kappa {one.kappa:.2f}"


def _listed(pair: Pair) -> str:
    told = [
        f"{line.tag} none"
        if line.agreement is None
        else f"{line.tag} {line.agreement.raw:.2f}, {_kappa(line.agreement)}, AC1 {line.agreement.ac1:.2f}"
        for line in pair.lines
    ]
    return f"{pair.name}, by category: {'; '.join(told)}."
