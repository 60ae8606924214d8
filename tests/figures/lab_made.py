"""What the figures of the 2D Lab are drawn from here: a small network, and measurements made by hand."""

from dataclasses import fields
from functools import lru_cache

import numpy as np

from diffatlas.lab2d.metrics import Measures
from diffatlas.lab2d.mixtures import points_target
from diffatlas.lab2d.studies import Point
from diffatlas.lab2d.targets import preset
from diffatlas.lab2d.training import Recipe, Trainer

HOSTILE = '<a href="https://x.example">x</a></script>\u202eabc'
ESCAPED = '&lt;a href="https://x.example"&gt;x&lt;/a&gt;&lt;/script&gt;\u202eabc'


def trained(steps: int = 30, **recipe: object) -> Trainer:
    trainer = Trainer(preset("three_modes"), Recipe(**{"width": 8, "depth": 1, "batch": 32, **recipe}))
    trainer.run(steps)
    return trainer


@lru_cache(maxsize=1)
def trainer() -> Trainer:
    return trained()


def hostile_target():
    """A target whose name and classes come from outside."""
    rng = np.random.default_rng(0)
    return points_target(HOSTILE, rng.standard_normal((6, 2)), np.arange(6) % 2, (HOSTILE, "b"), 0.2)


def point(sampler: str, steps: int, value: float, calls: int = 0, repeat: int = 0) -> Point:
    """A measurement whose measures are ``value``, twice, three times as much and so on, in their order."""
    values = [value * (k + 1) for k in range(len(fields(Measures)))]
    return Point(sampler, steps, calls or steps, repeat, Measures(*values))


def traces(figure, **meta):
    """The traces of a figure whose meta has these."""
    return [one for one in figure.data if one.meta and all(one.meta.get(k) == v for k, v in meta.items())]


def trace(figure, **meta):
    (found,) = traces(figure, **meta)
    return found


def unescaped(figure) -> list[str]:
    """The words of a figure that Plotly would read as markup: all but the few that figures make themselves."""
    layout = figure.layout
    words = [layout.title.text, layout.title.subtitle.text, *(note.text for note in layout.annotations)]
    for one in figure.data:
        words += [one.name, one.hovertemplate, *(one.text if isinstance(one.text, tuple) else [one.text])]
    return [word for word in words if word and ("<a" in word or "</script" in word)]
