"""The examples in the docstrings of the 2D Lab's figures, run as somebody in a notebook would."""

import textwrap
from functools import partial

import numpy as np
import pytest

from diffatlas import figures, lab2d
from diffatlas.figures.figure import Figure
from diffatlas.lab2d import studies
from diffatlas.lab2d.samplers import record
from diffatlas.lab2d.studies import memorisation, noise_floor, yardstick
from tests.figures.lab_made import trained


def example(function) -> str:
    """Return the indented lines that follow the "::" of a docstring."""
    return textwrap.dedent(function.__doc__.rpartition("::\n")[2])


@pytest.mark.parametrize("name", ["budget", "density", "field", "loss", "memory", "quality"])
def test_the_example_makes_a_figure(name, monkeypatch):
    target = lab2d.preset("three_modes")
    trainer = trained(1, train_points=20)
    monkeypatch.setattr(studies, "STEP_COUNTS", (4, 8))
    monkeypatch.setattr(studies, "flow_end", partial(studies.flow_end, steps=16))
    monkeypatch.setattr(trainer, "run", lambda steps: type(trainer).run(trainer, min(steps, 5)))
    names = {
        "Plan": lab2d.Plan,
        "bind": lambda labels: lab2d.bound(trainer.learned(), labels),
        "error_budget": partial(studies.error_budget, n=5),
        "exact": lambda labels: lab2d.bound(lab2d.exact(target), labels),
        "field": lab2d.bound(trainer.learned(), None),
        "figures": figures,
        "learned": lambda labels: lab2d.bound(trainer.learned(), labels),
        "memorisation": partial(memorisation, m=20),
        "n": 50,
        "noise": np.random.default_rng(0).standard_normal((10, 2)),
        "noise_floor": noise_floor,
        "plan": lab2d.Plan("heun", 4),
        "plans": [lab2d.Plan("heun", 4), lab2d.Plan("ddim", 4)],
        "record": record,
        "rng": np.random.default_rng(0),
        "sample": lab2d.sample,
        "schedule": trainer.schedule,
        "stick": yardstick(target),
        "studies": studies,
        "target": target,
        "trainer": trainer,
    }
    lines = example(getattr(figures, name)).strip().splitlines()
    assert 1 <= len(lines) <= 2
    exec("\n".join(lines[:-1]), names)
    made = eval(lines[-1], names)
    assert isinstance(made, Figure)
    assert made.layout.meta["figure"] == name
    assert made.layout.meta["says"]
    assert made.layout.meta["spoken"]
