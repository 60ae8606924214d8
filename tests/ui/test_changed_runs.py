"""Runs whose latents were changed between steps, that took more steps than planned, or that lack something."""

from __future__ import annotations

import base64
import json

import numpy as np
import pytest

from diffatlas.events import Finished, Image, Started, Step
from diffatlas.library import Library
from diffatlas.params import GenerationParams
from diffatlas.run import collect
from diffatlas.ui.components.change_maps import change_maps
from diffatlas.ui.components.run_data import stored_fields
from diffatlas.ui.components.run_view import RunView
from diffatlas.ui.components.step_data import step_detail

RUN_ID = "20260101-000000-00000000"
PLANNED, TAKEN = 3, 5
#: Indices of the steps before which the latents were changed.
CHANGED = (2, 4)
MISSING = {"cond_pred": "The passes cannot be told apart.", "sigma": "The scheduler has no noise levels."}
NOTES = [
    "Not recorded: the conditional and the unconditional prediction. The passes cannot be told apart.",
    "Not recorded: the noise levels. The scheduler has no noise levels.",
    "The latents were changed between steps, before steps 3 and 5: lengths are of the true states.",
]


@pytest.fixture
def events():
    rng = np.random.default_rng(5)

    def array():
        return rng.normal(size=(1, 4, 8, 8)).astype(np.float32)

    params = GenerationParams(prompt="a red circle", seed=7, width=64, height=64, scheduler="ddim")
    return [
        Started(RUN_ID, params, array(), None, PLANNED, {"device": "cpu"}),
        *(
            Step(
                index=i,
                timestep=900.0 - i,
                sigma=None,
                latents=array(),
                metrics={"norm": 1.0} | ({"between_length": 0.25} if i in CHANGED else {}),
                start_latents=array() if i in CHANGED else None,
                other_preds={"image": array(), "perturbed": array()} if i == 1 else {},
            )
            for i in range(TAKEN)
        ),
        Image(0, rng.integers(0, 256, (8, 8, 3), np.uint8)),
        Finished("complete", 1.5, [], MISSING),
    ]


@pytest.fixture
def stored(events, tmp_path):
    library = Library(tmp_path / "runs")
    list(library.record(iter(events)))
    return library.open(RUN_ID)


def moves(events):
    """The moves of the steps, from where each began: (TAKEN, numbers) in float64."""
    steps = events[1 : TAKEN + 1]
    before = events[0].initial_latents
    found = []
    for step in steps:
        began = before if step.start_latents is None else step.start_latents
        found.append((step.latents.astype(float) - began).ravel())
        before = step.latents
    return np.stack(found)


def check(value, events):
    json.dumps(value, allow_nan=False)
    totals, made = value["totals"], moves(events)
    lengths = np.linalg.norm(made, axis=1)
    units = made / lengths[:, None]
    turns = np.degrees(np.arccos((units[1:] * units[:-1]).sum(1)))
    assert totals["path_length"] == pytest.approx(lengths.sum(), rel=1e-5)
    assert totals["mean_curvature"] == pytest.approx(turns.mean(), rel=1e-5)
    assert value["notes"] == NOTES
    assert value["run"]["total_steps"] == TAKEN
    assert value["run"]["initial_sigma"] is None
    assert [step["sigma"] for step in value["steps"]] == [None] * TAKEN


def test_a_live_run_tells_what_was_changed_and_what_is_missing(events):
    view = RunView("a red circle", "Shapes", "visitor")
    seen = []
    for event in events:
        view.add(event)
        value = view.value()
        seen.append((value["run"]["total_steps"], value["notes"]))
    assert [total for total, _ in seen] == [3, 3, 3, 3, 4, 5, 5, 5]
    assert [notes for _, notes in seen] == [[]] * (TAKEN + 2) + [NOTES]
    check(view.value(), events)


def test_a_stored_run_is_told_alike(events, stored):
    check(stored_fields(stored, "Shapes", "visitor"), events)


def test_nothing_is_noted_of_a_run_as_any_other(events, tmp_path):
    plain = [
        event if not isinstance(event, Step) else Step(event.index, 1.0, 0.5, event.latents, metrics={})
        for event in events[: PLANNED + 1]
    ]
    library = Library(tmp_path / "plain")
    library.save(collect([*plain, Finished("complete", 1.0)]))
    value = stored_fields(library.open(RUN_ID), "Shapes", "visitor")
    assert (value["notes"], value["run"]["total_steps"]) == ([], PLANNED)


def test_the_inspector_lists_the_other_predictions(events, stored):
    detail = step_detail(stored, 1, None, False, "visitor")
    found = {entry["label"]: entry["value"] for entry in detail["scalars"]}
    assert found["Sigma"] is None
    for name in ("image", "perturbed"):
        wanted = np.linalg.norm(events[2].other_preds[name].astype(float))
        assert found[f"Norm, {name} prediction"] == pytest.approx(wanted, rel=1e-5)
    keys = [entry["key"] for entry in step_detail(stored, 2, None, False, "visitor")["scalars"]]
    assert keys == ["timestep", "sigma", "sigma_after", "norm", "between_length"]


def test_change_maps_are_of_the_steps_alone(events, stored):
    maps = change_maps(stored)
    found = np.frombuffer(base64.b64decode(maps["channels"]["values"]), "<f4").reshape(TAKEN, 4)
    wanted = np.sqrt((moves(events).reshape(TAKEN, 4, 64) ** 2).mean(2))
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
