"""Whether seeds matter: where the variance of the verdicts lies, and the rate of each seed."""

from __future__ import annotations

import plotly.graph_objects as go

from diffatlas.bench.seeds import Numbered, Seeds
from diffatlas.bench.statistics.words import p_words
from diffatlas.figures.bench_rows import FOOT, counted_words, look_of, rate_words, write
from diffatlas.figures.figure import Figure, figure, text
from diffatlas.figures.log_axis import segments
from diffatlas.figures.panels import AXIS_TITLE, lay_out, say_absent
from diffatlas.figures.template import ground

HEIGHT = 260
ABOUT = (
    "Where the variance of the verdicts lies: with the prompt, with the seed whatever is asked, or with neither; and"
    " the rate of the images of each number. A number stands for a seed where all prompts were given the same ones."
)
PARTS = ("prompt", "seed", "rest")
#: Ticks at most.
_TICKS = 12
_SHARES = {"tickvals": [0, 0.25, 0.5, 0.75, 1], "ticktext": ["0", "0.25", "0.5", "0.75", "1"]}


def bench_seeds(found: Seeds, title: str = "Do seeds matter?", dark: bool = False, across: int = 2) -> Figure:
    """Return two charts: the shares of the variance, and the rate by number with intervals over prompts.

    found: what `diffatlas.bench.seeds.by_number` returns. across: charts in a row.
    """
    told = [ABOUT, _sentence(found)]
    spoken = " ".join([*told, *(f"{_of(one)}." for one in found.numbers)])
    made = figure("bench_seeds", title, " ".join(told), spoken, dark)
    write(made, told)
    across = max(1, min(across, 2))
    titles = ["Shares of the variance", "Share correct by number of the image"]
    shares, rates = lay_out(made, titles, across, HEIGHT, foot=AXIS_TITLE)
    _draw_shares(made, shares, found, dark)
    _draw_rates(made, rates, found.numbers, dark)
    made.update_layout(
        height=made.layout.height + FOOT - 36 - made.layout.margin.b,
        margin_b=FOOT - 36,
        showlegend=False,
        hovermode="closest",
    )
    return made


def _draw_shares(made: Figure, axes: dict[str, str], found: Seeds, dark: bool) -> None:
    if found.shares is None:
        say_absent(made, axes, "Not known.")
        return
    on = ground(dark)
    values = [found.shares[part] for part in PARTS]
    made.add_trace(
        go.Bar(
            x=[0, 1, 2],
            y=values,
            width=0.5,
            marker={"color": on.muted, "line": {"width": 0}},
            showlegend=False,
            hovertext=[f"{part}: {value:.0%}" for part, value in zip(PARTS, values, strict=True)],
            hovertemplate="%{hovertext}<extra></extra>",
            meta={"measure": "variance", "line": "shares"},
            **axes,
        )
    )
    for place, value in enumerate(values):
        made.add_annotation(
            text=f"{value:.0%}",
            x=place,
            y=value + 0.06,
            xref=axes["xaxis"],
            yref=axes["yaxis"],
            font={"size": 12},
        )
    _axis(made, axes["xaxis"]).update(
        range=[-0.5, 2.5], tickvals=[0, 1, 2], ticktext=[*PARTS], title={"text": "lies with"}
    )
    _axis(made, axes["yaxis"]).update(range=[0, 1.12], **_SHARES)


def _draw_rates(made: Figure, axes: dict[str, str], numbers: tuple[Numbered, ...], dark: bool) -> None:
    known = [one for one in numbers if one.rate is not None]
    if not known:
        say_absent(made, axes, "Nothing could be judged.")
        return
    colour, shape = look_of(0, dark)
    at = [one.number for one in known]
    made.add_trace(
        go.Scatter(
            x=segments((x, x) for x in at),
            y=segments((one.rate.low, one.rate.high) for one in known),
            mode="lines",
            line={"color": colour, "width": 1.6},
            showlegend=False,
            hoverinfo="skip",
            meta={"measure": "rate", "line": "numbers", "part": "interval"},
            **axes,
        )
    )
    made.add_trace(
        go.Scatter(
            x=at,
            y=[one.rate.value for one in known],
            mode="markers",
            marker={"color": colour, "symbol": shape, "size": 8},
            showlegend=False,
            hovertext=[text(_of(one)) for one in known],
            hovertemplate="%{hovertext}<extra></extra>",
            meta={"measure": "rate", "line": "numbers", "part": "value"},
            **axes,
        )
    )
    shown = at[:: -(-len(at) // _TICKS)]
    _axis(made, axes["xaxis"]).update(
        range=[at[0] - 0.5, at[-1] + 0.5],
        tickvals=shown,
        ticktext=[str(one) for one in shown],
        title={"text": "number of the image among its prompt’s"},
    )
    _axis(made, axes["yaxis"]).update(range=[-0.03, 1.06], **_SHARES)


def _sentence(found: Seeds) -> str:
    if found.shares is None:
        return found.why or "Where the variance lies is not known."
    prompt, seed = (found.shares[part] for part in ("prompt", "seed"))
    said = f"Of {counted_words(found.prompts, 'prompt')}: {prompt:.0%} of the variance lies with the prompt,"
    said += f" {seed:.0%} with the seed."
    if found.p is not None:
        chance = "may be chance" if found.p > 0.05 else "is more than chance"
        said += f" That some numbers do better {chance} ({p_words(found.p)})."
    if found.left_out:
        lacking = "is" if found.left_out == 1 else "are"
        said += f" {counted_words(found.left_out, 'prompt')} {lacking} left out, which lack an image that was judged."
    return said


def _of(one: Numbered) -> str:
    if one.rate is None:
        return f"Number {one.number}: nothing could be judged"
    lacking = f", {one.unjudged} not judged" if one.unjudged else ""
    return (
        f"Number {one.number}: {rate_words(one.rate)} of {counted_words(one.rate.images, 'image')}{lacking}"
    )


def _axis(made: Figure, axis: str):
    return made.layout[f"{axis[0]}axis{axis[1:]}"]
