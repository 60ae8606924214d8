"""Two benches compared: the second minus the first by category, and what could have been seen at all."""

from __future__ import annotations

from collections.abc import Sequence

from diffatlas.bench.counted import Difference
from diffatlas.bench.statistics import Compared
from diffatlas.bench.statistics.words import found_words, p_words
from diffatlas.figures.bench_rows import (
    Point,
    Rows,
    counted_words,
    draw_points,
    lay_rows,
    letters_of,
    one_chart,
    write,
)
from diffatlas.figures.figure import Figure, figure
from diffatlas.figures.template import ground
from diffatlas.names import cut

ALL = "all prompts"
_NAME = 40
#: Steps of the ticks, and how far the axis reaches with each at most.
_STEPS = ((0.05, 0.2), (0.1, 0.4), (0.25, 1.0))


def bench_compared(
    whole: Compared,
    categories: Sequence[Difference],
    names: tuple[str, str] = ("the first", "the second"),
    dark: bool = False,
    across: int = 3,
) -> Figure:
    """Return the difference of each category with its interval, last that of all prompts.

    whole, categories: what `diffatlas.bench.counted.differences` returns. Gold is what is smaller than the smallest
    difference that the run would have found. The p-values of the categories are Holm's, that of all prompts its own.
    names: of the first and the second. across: as in `bench_rates`.
    """
    found = [(one.tag, one.compared, one.adjusted) for one in categories] + [(ALL, whole, whole.p)]
    first, second = (cut(name, _NAME) for name in names)
    told = _told(whole, categories, first, second)
    spoken = " ".join([*told, *(f"{_of_a_row(tag, one, p)}." for tag, one, p in found)])
    made = figure("bench_compared", f"{second} minus {first}", " ".join(told), spoken, dark)
    write(made, told)
    values = tuple(f": {one.difference:+.2f}, {p_words(p)}" for _, one, p in found)
    rows = Rows(tuple(tag for tag, _, _ in found), 1, values)
    axes = one_chart(made, rows.height, False)
    most = max(abs(v) for _, one, _ in found for v in (one.low, one.high, one.detectable, 0.1))
    step, _ = next((pair for pair in _STEPS if most <= pair[1]), _STEPS[-1])
    reach = min(1.0, most * 1.04)
    ticks = [k * step for k in range(-int(reach / step), int(reach / step) + 1)]
    title = "difference of the share that is correct"
    lay_rows(made, axes, rows, (-reach, reach), ticks, title, dark, letters_of(across))
    for row, (_, one, _) in enumerate(found):
        made.add_shape(
            type="rect",
            name="detectable",
            xref=axes["xaxis"],
            yref=axes["yaxis"],
            x0=-one.detectable,
            x1=one.detectable,
            y0=rows.at(row) - 7,
            y1=rows.at(row) + 7,
            fillcolor=ground(dark).gold,
            opacity=0.25,
            line_width=0,
            layer="below",
        )
    made.add_shape(
        type="line",
        xref=axes["xaxis"],
        yref=f"{axes['yaxis']} domain",
        x0=0,
        x1=0,
        y0=0,
        y1=1,
        line={"color": ground(dark).muted, "width": 1.2},
        layer="below",
    )
    points = [
        Point(row, one.difference, one.low, one.high, _of_a_row(tag, one, p))
        for row, (tag, one, p) in enumerate(found)
    ]
    draw_points(made, axes, rows, "difference", points, dark=dark, meta={"measure": "difference"})
    return made


def _of_a_row(tag: str, one: Compared, p: float) -> str:
    said = f"{tag}: {one.difference:+.2f} ({one.low:+.2f} to {one.high:+.2f}), {p_words(p)}"
    said += f"; {one.differ} of {counted_words(one.prompts, 'prompt')} differ"
    return f"{said}; {found_words(one.detectable)}"


def _told(whole: Compared, categories: Sequence[Difference], first: str, second: str) -> list[str]:
    about = f"By category, over the prompts that both have, with intervals of {whole.level:.0%}. Gold: less than the"
    about += (
        " smallest difference that would have been found four times of five. The p-values of categories are"
    )
    about += " adjusted for how many there are (Holm)."
    level = 1 - whole.level
    size = f"{whole.difference:+.2f} ({whole.low:+.2f} to {whole.high:+.2f})"
    said = (
        f"Over {counted_words(whole.prompts, 'prompt')} {second} minus {first} is {size}, {p_words(whole.p)}."
    )
    if abs(whole.difference) < 1e-12:
        said = f"Over {counted_words(whole.prompts, 'prompt')} {second} and {first} have the same rate."
    apart = [one for one in categories if one.adjusted <= level]
    if apart:
        listed = ", ".join(f"{one.tag} ({one.compared.difference:+.2f})" for one in apart)
        said += f" Apart from chance: {listed}."
    elif categories:
        said += " No category differs beyond chance."
    alike = [one for one in categories if one.adjusted > level]
    if alike:
        most = max(one.compared.detectable for one in alike)
        missed = "any difference" if most >= 1 else f"a difference of up to {most:.2f}"
        said += f" Of the {'others' if apart else 'categories'} {missed} may have been missed."
    return [about, said]
