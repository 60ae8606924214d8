"""The figures of runs as a page asks for them: their numbers, whose they are, and what a wrong question gets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio  # noqa: F401  As in the app: else a thread would import pandas while plotly looks whether it is there.
import numpy as np
import pytest

from diffatlas import figures, measured
from diffatlas.errors import InvalidParams, RunNotFound
from diffatlas.events import Event, Started, Step
from diffatlas.figures.curves import CHARTS
from diffatlas.look import NIGHT, PAPER
from diffatlas.params import GenerationParams
from diffatlas.ui.layers import Layers
from diffatlas.ui.libraries import Libraries
from diffatlas.ui.run_figures import ACROSS, RunFigures
from diffatlas.ui.wire.runs import MOST_RUNS
from tests.library.made_runs import made
from tests.spoken import Spoken

ME, STRANGER = "a" * 8, "b" * 8


@pytest.fixture
def layers(tmp_path: Path) -> Layers:
    return Layers(Libraries(tmp_path))


@pytest.fixture
def runs(layers: Layers) -> list[str]:
    """Two runs that are my layers, of three and of three steps."""
    ids = [layers.library(ME).save(made(k)) for k in (1, 2)]
    for run_id in ids:
        layers.begin(ME, run_id, run_id)
        layers.lock(ME, run_id)
    return ids


def drawer(layers: Layers) -> Spoken:
    return Spoken(RunFigures(layers), curves="curves")


def asked(*ids: str, **more: Any) -> dict[str, Any]:
    return {"layers": [{"id": one, "name": f"run {one}", "colour": None} for one in ids], **more}


def answer(layers: Layers, question: dict[str, Any]) -> dict[str, Any]:
    return json.loads(drawer(layers).curves(ME, question).body)


def test_it_is_the_figure_of_a_notebook_in_every_width(layers: Layers, runs: list[str]) -> None:
    names, colours = ["one <b>", "two"], ["#112233", "rgb(1, 2, 3)"]
    told = [{"id": r, "name": n, "colour": c} for r, n, c in zip(runs, names, colours, strict=True)]
    found = answer(layers, {"layers": told, "along": "progress", "dark": True, "readings": 1})
    assert found["layouts"]["4"]["meta"]["reading"] > 0
    stored = [layers.library(ME).load(run_id) for run_id in runs]
    wanted = json.loads(figures.curves(stored, names, colours, True, 4, "progress").to_json())
    assert found["data"] == wanted["data"]
    assert sorted(found["layouts"]) == sorted(str(across) for across in ACROSS)
    assert found["layouts"]["4"]["meta"] | {"reading": 0} == wanted["layout"]["meta"]
    for across, layout in found["layouts"].items():
        lefts = {layout[name]["domain"][0] for name in layout if name.startswith("xaxis")}
        assert len(lefts) == int(across)
    assert found["config"]["showSendToCloud"] is False


def test_a_layer_without_a_colour_is_in_the_accent_or_in_ink(layers: Layers, runs: list[str]) -> None:
    def colours(*ids: str, dark: bool) -> set[str]:
        lines = answer(layers, asked(*ids, dark=dark))["data"]
        return {line["line"]["color"] for line in lines if line["mode"] == "lines"}

    assert colours(runs[0], dark=False) == {PAPER.burgundy}
    assert colours(*runs, dark=True) == {NIGHT.ink}


def test_a_run_that_goes_on_has_lines_to_be_continued(layers: Layers) -> None:
    library = layers.library(ME)
    rng = np.random.default_rng(4)

    def array() -> np.ndarray:
        return rng.normal(size=(1, 4, 4, 4)).astype(np.float32)

    def events() -> Iterator[Event]:
        params = GenerationParams(prompt="a run", seed=1, num_inference_steps=9, width=64, height=64)
        yield Started("20260101-000000-00000009", params, array(), 14.6, 9, {})
        for k in range(2):
            yield Step(k, 900.0 - k, 1.0 / (k + 1), array(), metrics={"norm": float(k)})

    recording = library.record(events())
    begun = next(recording)
    layers.begin(ME, begun.run_id, "a run")
    services = drawer(layers)

    def lines() -> dict[str, list[float]]:
        found = json.loads(services.curves(ME, asked(begun.run_id)).body)
        assert "Known once the run has ended." in json.dumps(found["layouts"])
        assert found["layouts"]["1"]["xaxis"]["range"][1] > 9
        return {line["meta"]["measure"]: line["y"] for line in found["data"] if line["mode"] == "lines"}

    assert set(lines()) == set(CHARTS) - {"distance_to_end", "cosine_to_end"}
    assert len(lines()["norm"]) == 1
    next(recording)
    assert lines()["norm"][1] == 0.0
    recording.close()
    found = json.loads(services.curves(ME, asked(begun.run_id)).body)
    assert "distance_to_end" in {line["meta"]["measure"] for line in found["data"]}


def test_a_stored_run_is_measured_as_a_whole_one_without_its_pictures(
    layers: Layers, runs: list[str]
) -> None:
    stored = layers.library(ME).open(runs[0])
    light = stored.measured()
    assert light.images == ()
    assert all(step.cond_pred is None and step.preview is None for step in light.steps)
    assert measured.states(light) == measured.states(layers.library(ME).load(runs[0]))


def test_runs_of_another_visitor_are_not_there(layers: Layers, runs: list[str]) -> None:
    with pytest.raises(RunNotFound):
        drawer(layers).curves(STRANGER, asked(runs[0]))


@pytest.mark.parametrize(
    "question",
    [
        {},
        {"layers": []},
        {"layers": "x"},
        {"layers": [None]},
        {"layers": [{"id": 3, "name": "x"}]},
        {"layers": [{"id": "x", "name": "x", "colour": "red;}"}]},
        {"layers": [{"id": "x", "name": "x"}] * 2},
        {"layers": [{"id": str(k), "name": "x"} for k in range(MOST_RUNS + 1)]},
        {"layers": [{"id": "RUN", "name": "x"}], "along": "time"},
        {"layers": [{"id": "RUN", "name": "x"}], "readings": 5},
    ],
)
def test_a_wrong_question_is_answered_in_a_sentence(
    layers: Layers, runs: list[str], question: dict[str, Any]
) -> None:
    text = json.dumps(question).replace("RUN", runs[0])
    with pytest.raises(InvalidParams) as refused:
        drawer(layers).curves(ME, json.loads(text))
    assert refused.value.field in ("layers", "along", "readings")
