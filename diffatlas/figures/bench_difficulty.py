"""How the share of correct images falls as prompts demand more things."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from diffatlas.bench.difficulty import Demanding
from diffatlas.errors import InvalidParams
from diffatlas.figures.bench_rows import counted_words, look_of, one_chart, rate_words, write
from diffatlas.figures.figure import Figure, figure, text
from diffatlas.figures.log_axis import segments
from diffatlas.figures.panels import say_absent
from diffatlas.figures.template import dash

HEIGHT = 300
ABOUT = (
    "Share of correct images by the number of things that a prompt demands: its objects, their numbers and colours,"
    " relations, what must not be there; or its questions. Intervals are over prompts."
)
ABSENT = "No prompt says what it demands: its images are judged as a whole."
#: How far apart the marks of two benches lie at one number.
_APART = 0.09


def bench_difficulty(
    benches: Mapping[str, Sequence[Demanding]], title: str = "Correct by what is demanded", dark: bool = False
) -> Figure:
    """Return a line a bench: the rate of the prompts that demand one thing, two, and so on, with intervals.

    benches: what `diffatlas.bench.difficulty.by_atoms` returns, by the name of the bench. Raises `InvalidParams` where
    there is none.
    """
    if not benches:
        raise InvalidParams("There is no bench to draw: give one.")
    known = {name: [one for one in own if one.rate is not None] for name, own in benches.items()}
    several = len(benches) > 1
    told = [ABOUT, *(f"{name}: {_sentence(benches[name], own)}" for name, own in known.items())]
    spoken = " ".join([*told, *(_listed(name, own) for name, own in known.items() if own)])
    made = figure("bench_difficulty", title, " ".join(told), spoken, dark)
    write(made, told, benches)
    axes = one_chart(made, HEIGHT, several)
    made.update_layout(margin_l=58)
    numbers = sorted({one.atoms for own in known.values() for one in own})
    if not numbers:
        say_absent(made, axes, ABSENT)
        return made
    for place, (name, own) in enumerate(known.items()):
        _draw(made, axes, name, own, place, (place - (len(known) - 1) / 2) * _APART, several, dark)
    shown = numbers if len(numbers) <= 12 else numbers[:: -(-len(numbers) // 12)]
    made.layout.xaxis.update(
        range=[numbers[0] - 0.5, numbers[-1] + 0.5],
        tickvals=shown,
        ticktext=[str(number) for number in shown],
        title={"text": "things that a prompt demands"},
    )
    made.layout.yaxis.update(
        range=[-0.03, 1.03],
        tickvals=[0, 0.25, 0.5, 0.75, 1],
        ticktext=["0", "0.25", "0.5", "0.75", "1"],
        title={"text": "share of images that are correct"},
    )
    return made


def _draw(
    made: Figure,
    axes: dict[str, str],
    name: str,
    own: Sequence[Demanding],
    place: int,
    shift: float,
    listed: bool,
    dark: bool,
) -> None:
    colour, shape = look_of(place, dark)
    at = [one.atoms + shift for one in own]
    made.add_trace(
        go.Scatter(
            x=segments((x, x) for x in at),
            y=segments((one.rate.low, one.rate.high) for one in own),
            mode="lines",
            line={"color": colour, "width": 1.4},
            legendgroup=text(name),
            showlegend=False,
            hoverinfo="skip",
            meta={"line": name, "measure": "rate", "part": "interval"},
            **axes,
        )
    )
    made.add_trace(
        go.Scatter(
            x=at,
            y=[one.rate.value for one in own],
            mode="lines+markers",
            name=text(name),
            legendgroup=text(name),
            showlegend=listed,
            line={"color": colour, "width": 1.6, "dash": dash(place)},
            marker={"color": colour, "symbol": shape, "size": 8},
            cliponaxis=False,
            hovertext=[f"{text(name)}<br>{text(_of(one))}" for one in own],
            hovertemplate="%{hovertext}<extra></extra>",
            meta={"line": name, "measure": "rate", "part": "value"},
            **axes,
        )
    )


def _of(one: Demanding) -> str:
    images, prompts = counted_words(one.rate.images, "image"), counted_words(one.rate.prompts, "prompt")
    return f"{counted_words(one.atoms, 'thing')}: {rate_words(one.rate)} of {images}, {prompts}"


def _sentence(every: Sequence[Demanding], known: Sequence[Demanding]) -> str:
    if not known:
        return "nothing could be judged." if every else ABSENT
    first, last = known[0], known[-1]
    said = f"{rate_words(first.rate)} of images are correct where {counted_words(first.atoms, 'thing')}"
    said += " is demanded" if first.atoms == 1 else " are demanded"
    if last is not first:
        said += f", {rate_words(last.rate)} at {last.atoms}"
    lacking = sum(one.unjudged for one in every)
    return f"{said}." + (f" Not judged: {counted_words(lacking, 'image')}." if lacking else "")


def _listed(name: str, known: Sequence[Demanding]) -> str:
    return f"{name}, by number: {'; '.join(_of(one) for one in known)}."
