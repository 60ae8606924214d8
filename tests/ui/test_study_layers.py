"""Studies as layers: what the pages are told of them, and the curves that are drawn together."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

from diffatlas.capture.spec import Capture
from diffatlas.operations.projections import Projections
from diffatlas.operations.trace import shared_local_backend
from diffatlas.params import GenerationParams
from diffatlas.studies.plan_neighbourhood import plan_neighbourhood
from diffatlas.studies.plan_sweep import plan_sweep
from diffatlas.ui.components.study_form import to_lanes
from diffatlas.ui.layers import Layers
from diffatlas.ui.libraries import Libraries
from diffatlas.ui.study_runner import StudyRunner
from diffatlas.ui.study_services import Running, StudyServices
from diffatlas.ui.turns import Turns
from diffatlas.ui.visitors import COOKIE, visitor_of
from diffatlas.ui.wire.call import schema_of
from diffatlas.ui.wire.calls import CALLS

ME, YOU = "1" * 32, "2" * 32
BASE = GenerationParams(prompt="a red circle", seed=3, num_inference_steps=3)


def request_of(secret):
    return SimpleNamespace(cookies={COOKIE: secret}, session_hash="tab")


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    """A shared server on which one visitor has made two sweeps that differ in the seed, and a neighbourhood."""
    libraries = Libraries(tmp_path_factory.mktemp("runs"), shared=True)
    layers, running = Layers(libraries), Running()
    runner = StudyRunner(libraries, Turns(), running)
    visitor = visitor_of(request_of(ME))
    plans = [
        plan_sweep(BASE, "guidance_scale", "1, 6", seeds=2),
        plan_sweep(BASE.replace(seed=30), "guidance_scale", "1, 6"),
        plan_neighbourhood(BASE, "perturb", k=3, radius=0.6, lanes=to_lanes(["scheduler=euler"])),
    ]
    for plan in plans:
        *_, last = runner.run(visitor, "tab", lambda plan=plan: (plan, Capture()), reuse=True)
        assert last["status"] == "complete"

    def services():
        return StudyServices(libraries, Layers(libraries), shared_local_backend(), {}, Projections(), running)

    return SimpleNamespace(
        services=services,
        library=libraries.of(visitor),
        ids=[plan.id for plan in plans],
        layers=layers,
        visitor=visitor,
    )


@pytest.fixture
def ask(room):
    """Call a function of the page; ``secret``: whose."""
    calls = {call.__name__: call for call in room.services().functions}

    def ask(name, secret=ME, /, **asked):
        of = {"operation": "sweep"} if "operation" in schema_of(CALLS[name].asked)["properties"] else {}
        answer = calls[name](of | asked, request_of(secret))
        if isinstance(answer, dict):
            json.dumps(answer, allow_nan=False)  # what cannot be sent is found here
        return answer

    yield ask
    for operation in ("sweep", "neighbourhood"):
        room.layers.of_studies(operation).reset(room.visitor)


def test_what_is_in_view_is_kept_by_a_lock_and_told_apart_by_what_differs(room, ask):
    first, second, _ = room.ids
    ask("edit_study_layer", action="look", id=first)
    ask("edit_study_layer", action="lock", id=first)
    ask("edit_study_layer", action="look", id=second)
    # Another process of the server, as after a restart.
    again = {call.__name__: call for call in room.services().functions}
    told = again["study_layers"]({"operation": "sweep"}, request_of(ME))["layers"]
    assert [(info["id"], info["locked"], info["cells"], info["done"]) for info in told] == [
        (first, True, 4, 4), (second, False, 2, 2),
    ]  # fmt: skip
    assert told[0]["name"] == told[1]["name"]
    assert ["2 seeds" in told[0]["label"], "seed 3" in told[0]["label"], "seed 30" in told[1]["label"]] == [
        True
    ] * 3


def test_a_stranger_reaches_no_layer(room, ask):
    first = room.ids[0]
    ask("edit_study_layer", action="look", id=first)
    assert ask("study_layers", YOU) == {"layers": [], "left_out": None}
    for action in ("look", "lock", "rename", "show", "delete"):
        assert "error" in ask("edit_study_layer", YOU, action=action, id=first, name="mine"), action
    assert "error" in ask("study_curves", YOU, id=first)
    ask("edit_study_layer", YOU, action="reset")
    assert len(ask("study_layers")["layers"]) == 1


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("study_layers", {"operation": "run"}), ("study_layers", {"operation": None}),
        ("edit_study_layer", {"action": "explode"}), ("edit_study_layer", {"action": "look", "id": "../runs"}),
        ("edit_study_layer", {"action": "lock"}), ("study_curves", {"id": ""}),
    ],
)  # fmt: skip
def test_nonsense_is_answered_with_a_sentence(ask, name, asked):
    answer = ask(name, **asked)
    assert len(answer["error"]["message"]) > 10
    assert "log says why" not in answer["error"]["message"]


def test_a_layer_is_called_what_its_study_is(room, ask):
    first = room.ids[0]
    before = room.library.studies.open(first).title
    ask("edit_study_layer", action="look", id=first)
    (told,) = ask("edit_study_layer", action="rename", id=first, name=" Seed  <b>3</b>")["layers"]
    assert told["name"] == told["label"] == room.library.studies.open(first).title == "Seed <b>3</b>"
    room.library.studies.rename(first, before)
    assert ask("study_layers")["layers"][0]["name"] == before


def test_a_layer_whose_study_is_in_the_trash_is_left_out_with_a_sentence(room, ask):
    first = room.ids[0]
    ask("edit_study_layer", action="look", id=first)
    ask("edit_study_layer", action="lock", id=first)
    ask("forget_study", id=first)
    found = ask("study_layers")
    assert found["layers"] == []
    assert found["left_out"].endswith("is left out: its sweep is in the Trash.")
    assert "error" in ask("edit_study_layer", action="show", id=first, visible=False)
    ask("restore_study", id=first)
    assert [info["id"] for info in ask("study_layers")["layers"]] == [first]
    assert ask("study_layers")["left_out"] is None


def test_a_study_that_cannot_be_read_says_so_beside_the_others(room, ask):
    first, second, _ = room.ids
    ask("edit_study_layer", action="look", id=first)
    ask("edit_study_layer", action="lock", id=first)
    ask("edit_study_layer", action="look", id=second)
    file = room.library.studies.folder / first / "study.json"
    whole = file.read_bytes()
    file.write_bytes(whole[:40])
    damaged, fine = ask("study_layers")["layers"]
    file.write_bytes(whole)
    assert (damaged["status"], fine["status"]) == ("damaged", "complete")
    assert "damaged" in damaged["error"]
    assert damaged["label"] != fine["label"]


def drawn(answer):
    """The lines of a figure: {(line, measure): y}."""
    assert answer.status_code == 200
    told = json.loads(answer.body)
    return {(m["line"], m["measure"]): one["y"] for one in told["data"] if "line" in (m := one["meta"])}


def test_drift_is_drawn_of_what_was_measured(room, ask):
    first, second, _ = room.ids
    for study_id in (first, second):
        ask("edit_study_layer", action="look", id=study_id)
    measured = ask("measures", id=first)
    alone = drawn(ask("drift_figure", id=first, across=2))
    assert alone["a", "drift_image"] == measured["lanes"]["a"]["curves"]["image"]
    cells = room.library.studies.open(first).cells
    largest = {
        (cell.row, cell.column): np.abs(room.library.load(cell.run_id).latents[-1]).max() for cell in cells
    }
    means = [np.mean([largest[row, column] for row in (0, 1)]) for column in (0, 1)]
    assert alone["a", "latent_max"] == pytest.approx(means, rel=1e-5)
    # Of one seed there is no diversity; of two there is.
    assert alone["a", "diversity"][0] > 0
    # Of the second seed, with the other sweep beside it.
    beside = [{"id": second, "name": "another", "colour": "#123456"}]
    own = {"name": "this", "colour": None}
    both = drawn(ask("drift_figure", id=first, across=1, row=1, own=own, beside=beside))
    assert both["a", "latent_max"] == pytest.approx([largest[1, 0], largest[1, 1]], rel=1e-5)
    assert both[f"{second} a", "drift_image"] == ask("measures", id=second)["lanes"]["a"]["curves"]["image"]


def test_guidance_by_step_is_that_of_the_seed_in_view(room, ask):
    first = room.ids[0]
    measured = ask("measures", id=first)["cells"]
    for row in (0, 1):
        found = drawn(ask("guidance_figure", id=first, across=2, lane="a", row=row))
        names = ("guidance_norm", "guidance_angle")
        assert set(found) == {(f"a-{row}-{column}", name) for column in (0, 1) for name in names}
        for (key, name), values in found.items():
            assert values == measured[key][name]


@pytest.mark.parametrize(
    "asked",
    [
        {"across": 0}, {"across": 1.5}, {"across": True}, {"row": 2}, {"row": "0"}, {"lane": "z"}, {"lane": 3},
        {"beside": {}}, {"beside": [3]}, {"beside": [{"id": "nobody"}]}, {"beside": [{}] * 25},
        {"beside": [{"id": "", "name": "a", "colour": "red"}]},
    ],
)  # fmt: skip
def test_a_figure_of_nonsense_is_answered_with_a_sentence(room, ask, asked):
    answer = ask("drift_figure", **{"id": room.ids[0], "across": 2, **asked})
    assert len(answer["error"]["message"]) > 10
    assert "log says why" not in answer["error"]["message"]


def test_a_stranger_has_no_figure_of_it(room, ask):
    first = room.ids[0]
    assert "error" in ask("drift_figure", YOU, id=first, across=1)
    assert "error" in ask("guidance_figure", YOU, id=first, across=1)


def test_curves_of_a_neighbourhood_are_those_of_its_measures_without_the_pairs(room, ask):
    around = room.ids[2]
    asked = {"operation": "neighbourhood", "id": around}
    ask("edit_study_layer", action="look", **asked)
    found, measured = ask("study_curves", **asked), ask("measures", id=around)
    assert [lane["name"] for lane in found["lanes"]] == ["ddim", "euler"]
    for lane in found["lanes"]:
        own = measured["lanes"][lane["key"]]
        for way in ("growth", "growth_latent"):
            assert {**lane[way], "pairs": own[way]["pairs"]} == own[way]
            assert "pairs" not in lane[way]
        assert (lane["cells"], lane["jumps"]) == (4, len(own["jumps"]))
    assert found["agreement"][0]["rank"] == measured["agreement"][0]["rank"]
    # A list for each operation.
    assert ask("study_layers")["layers"] == []
