"""A live run whose latents change their shape on the way goes on without a path."""

from __future__ import annotations

import json

import numpy as np
import pytest

from diffatlas.errors import BackendFailure
from diffatlas.events import Finished, Image, Started, Step
from diffatlas.params import GenerationParams
from diffatlas.ui.components.run_view import NO_PATH, RunView

SMALL, LARGE = (1, 4, 8, 8), (1, 4, 16, 16)


def zeros(shape):
    return None if shape is None else np.zeros(shape, np.float32)


def events(first, shapes, starts):
    params = GenerationParams(prompt="a red circle", seed=7, width=64, height=64, scheduler="ddim")
    return [
        Started("20260101-000000-00000000", params, zeros(first), None, len(shapes), {"device": "cpu"}),
        *(
            Step(index=i, timestep=9.0 - i, sigma=None, latents=zeros(shape), start_latents=zeros(start))
            for i, (shape, start) in enumerate(zip(shapes, starts, strict=True))
        ),
        Image(0, np.zeros((8, 8, 3), np.uint8)),
        Finished("complete", 1.0, [], {}),
    ]


@pytest.mark.parametrize(
    ("first", "shapes", "starts"),
    [
        (SMALL, [SMALL, LARGE, LARGE], [None, LARGE, None]),
        (LARGE, [SMALL, SMALL, SMALL], [SMALL, SMALL, SMALL]),
        (SMALL, [SMALL, SMALL, SMALL], [None, LARGE, None]),
    ],
)
def test_states_of_two_shapes_are_no_path_and_no_error(first, shapes, starts):
    view = RunView("a red circle", "Shapes", "visitor")
    for event in events(first, shapes, starts):
        view.add(event)
        value = view.value()
    json.dumps(value, allow_nan=False)
    assert (value["status"], len(value["steps"])) == ("complete", 3)
    assert (value["points"], value["axes"], value["final"], value["totals"]) == ("", None, None, None)
    assert value["notes"][-1] == NO_PATH
    assert value["image"]


def test_an_error_after_the_shape_changed_is_shown():
    view = RunView("a red circle", "Shapes", "visitor")
    for event in events(SMALL, [SMALL, LARGE], [None, None])[:3]:
        view.add(event)
    assert view.failed(BackendFailure("No."))["error"]["message"] == "No."


def test_states_of_one_shape_are_a_path():
    view = RunView("a red circle", "Shapes", "visitor")
    for event in events(SMALL, [SMALL, SMALL], [None, SMALL]):
        view.add(event)
    value = view.value()
    assert value["points"]
    assert value["totals"]
    assert NO_PATH not in value["notes"]
