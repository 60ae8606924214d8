"""What the pages of studies show and are told, on a small study of the embedded model."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

from diffatlas.capture.spec import Capture
from diffatlas.errors import InvalidParams
from diffatlas.operations.projections import Projections
from diffatlas.operations.trace import shared_local_backend
from diffatlas.params import GenerationParams
from diffatlas.studies.measure_sweep import measure_sweep
from diffatlas.studies.plan_neighbourhood import plan_neighbourhood
from diffatlas.studies.plan_sweep import plan_sweep
from diffatlas.studies.run import StudyChanged
from diffatlas.ui.components.study_form import FIRST_VALUES, own_value, to_lanes
from diffatlas.ui.components.study_view import StudyView
from diffatlas.ui.layers import Layers
from diffatlas.ui.libraries import Libraries
from diffatlas.ui.study_runner import StudyRunner
from diffatlas.ui.study_services import Running, StudyServices
from diffatlas.ui.turns import Turns
from diffatlas.ui.visitors import COOKIE, visitor_of

SECRET, STRANGER = "1" * 32, "2" * 32
BASE = GenerationParams(prompt="a red circle", seed=3, num_inference_steps=4, guidance_scale=3)
CAPTURE = Capture(previews="every")


def request_of(secret):
    return SimpleNamespace(cookies={COOKIE: secret}, session_hash="tab")


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    """A shared server on which one visitor has made a sweep of two values in two lanes."""
    libraries = Libraries(tmp_path_factory.mktemp("runs"), shared=True)
    layers, turns, running = Layers(libraries), Turns(), Running()
    services = StudyServices(libraries, layers, shared_local_backend(), {}, Projections(), running)
    runner = StudyRunner(libraries, turns, running)
    visitor = visitor_of(request_of(SECRET))
    study = plan_sweep(BASE, "guidance_scale", "1, 6", lanes=to_lanes(["scheduler=euler"]))
    values = list(runner.run(visitor, "tab", lambda: (study, CAPTURE), reuse=True))
    calls = {call.__name__: call for call in services.functions}

    def ask(name, secret=SECRET, /, **asked):
        answer = calls[name](asked, request_of(secret))
        if hasattr(answer, "body"):
            return json.loads(answer.body)
        json.dumps(answer, allow_nan=False)  # what cannot be sent is found here
        return answer

    library = libraries.of(visitor)
    return SimpleNamespace(
        ask=ask, runner=runner, visitor=visitor, library=library, values=values, last=values[-1],
        id=values[-1]["study"]["id"], layers=layers, turns=turns,
    )  # fmt: skip


def test_cells_end_with_their_runs_and_images(room):
    assert room.last["status"] == "complete"
    assert sorted(room.last["cells"]) == ["a-0-0", "a-0-1", "b-0-0", "b-0-1"]
    for key, cell in room.last["cells"].items():
        assert cell["status"] == "complete", key
        assert cell["preview"].startswith("data:image/webp")
        assert cell["image"]
        stored = room.library.open(cell["run"])
        asked = next(c["params"] for c in room.last["study"]["cells"] if c["key"] == key)
        assert stored.params.guidance_scale == asked["guidance_scale"]
        assert stored.step_count == 4
    assert [lane["name"] for lane in room.last["study"]["lanes"]][1] == "euler"


def test_values_can_be_sent_and_steps_only_grow(room):
    seen = {}
    for value in room.values:
        json.dumps(value, allow_nan=False)
        for key, cell in value["cells"].items():
            assert cell["step"] >= seen.get(key, 0)
            seen[key] = cell["step"]


def test_a_stored_study_is_shown_as_the_live_one_was(room):
    stored = room.ask("study", id=room.id)
    assert stored["study"] == room.last["study"]
    for key, cell in room.last["cells"].items():
        again = stored["cells"][key]
        assert {name: again[name] for name in ("status", "run", "cached")} == {
            name: cell[name] for name in ("status", "run", "cached")
        }
        assert again["image"]


def test_measures_are_those_of_the_public_function(room):
    found = room.ask("measures", id=room.id)
    direct = measure_sweep(room.library.studies.open(room.id), room.library).to_dict()
    assert found["cells"]["a-0-0"]["drift"]["latent"] == pytest.approx(
        direct["cells"]["a-0-0"]["drift"]["latent"]
    )
    a, b = (
        room.library.load(room.last["cells"][key]["run"]).latents[-1].ravel() for key in ("a-0-0", "a-0-1")
    )
    base = found["baseline"]
    other, own = (a, b) if base == 1 else (b, a)
    apart = np.linalg.norm(other.astype(float) - own) / np.linalg.norm(own.astype(float))
    assert found["cells"][f"a-0-{1 - base}"]["drift"]["latent"] == pytest.approx(apart, rel=1e-5)


def test_the_runs_of_cells_are_read_like_those_of_layers(room):
    ids = [cell["run"] for cell in room.last["cells"].values()]
    assert room.ask("run_data", id=ids[0])["status"] == "complete"
    assert set(room.ask("project", view="pca", ids=ids)["coords"]) == set(ids)
    assert room.ask("step", id=ids[0], index=3)["pictures"]
    counted = room.ask("image_detail", id=room.id, cell="a-0-0")["histogram"]
    assert counted["layouts"]["1"]["meta"]["figure"] == "picture_values"


def test_cells_become_locked_layers(room):
    ids = [room.last["cells"][key]["run"] for key in ("a-0-0", "a-0-1")]
    assert room.ask("to_layers", id=room.id, ids=ids)["layers"] == ids
    layers = room.layers.of(room.visitor)
    assert [(layer.id, layer.locked) for layer in layers] == [(run, True) for run in ids]
    assert "g 1" in layers[0].name


@pytest.mark.parametrize("kind", ["csv", "json", "png", "pdf"])
def test_files_of_a_study(room, kind):
    found = room.ask("study_export", id=room.id, kind=kind)
    assert found["name"].endswith(f".{kind}")


def test_a_stranger_reaches_nothing(room):
    run = room.last["cells"]["a-0-0"]["run"]
    assert room.ask("studies", STRANGER, operation="sweep") == {"studies": []}
    for name, asked in (
        ("study", {"id": room.id}), ("measures", {"id": room.id}), ("run_data", {"id": run}),
        ("forget_study", {"id": room.id}), ("study_export", {"id": room.id, "kind": "csv"}),
        ("step", {"id": run, "index": 0}), ("export", {"kind": "csv", "ids": [run]}),
    ):  # fmt: skip
        assert "error" in room.ask(name, STRANGER, **asked), name


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("study", {"id": ""}), ("study", {"id": "../runs"}), ("study", {"id": ["x"]}), 
        ("study_export", {"kind": "exe"}),
        ("map_figure", {"lane": "z", "of": "latent", "kind": "umap"}), ("map_figure", {"of": "start"}),
        ("to_layers", {"ids": ["x"]}), ("image_detail", {"cell": "z"}), ("distances_figure", {"by": "hue"}),
        ("rename_study", {"title": " "}), ("rename_study", {"title": 3}),
    ],
)  # fmt: skip
def test_nonsense_is_answered_with_a_sentence(room, name, asked):
    answer = room.ask(name, **({"id": room.id} | asked))
    assert len(answer["error"]["message"]) > 10
    assert "log says why" not in answer["error"]["message"]


def test_a_cell_can_be_run_again_out_of_the_library(room):
    values = list(room.runner.retry(room.visitor, "tab", room.id, ["a-0-1"]))
    assert values[-1]["status"] == "complete"
    assert values[-1]["cells"]["a-0-1"]["cached"]
    assert values[-1]["cells"]["a-0-0"]["image"]


def test_what_is_not_read_of_a_prompt_is_said_live_and_of_the_stored_study(room):
    asked = plan_sweep(BASE.replace(prompt="a photo of a cat"), "guidance_scale", "1, 6")
    values = list(room.runner.run(room.visitor, "tab", lambda: (asked, CAPTURE), reuse=True))
    said = ["The model was never taught: cat."]
    begun = next(value for value in values if any(cell["run"] for cell in value["cells"].values()))
    assert (begun["status"], begun["notes"]) == ("running", said)
    assert values[0]["notes"] == []
    stored = room.ask("study", id=values[-1]["study"]["id"])
    assert stored["notes"] == values[-1]["notes"] == said
    assert "star" in dict(stored["known"])["shapes"]
    assert room.ask("study", id=room.id)["notes"] == []


def test_studies_are_listed_renamed_and_forgotten(room):
    study = plan_neighbourhood(BASE, "perturb", k=1, radius=0.5)
    list(room.runner.run(room.visitor, "tab", lambda: (study, CAPTURE), reuse=True))
    listed = room.ask("studies", operation="neighbourhood")["studies"]
    assert [(s["cells"], s["done"], s["status"]) for s in listed] == [(2, 2, "complete")]
    assert listed[0]["thumb"]
    renamed = room.ask("rename_study", id=listed[0]["id"], title="Near <b>seed 3</b>")["studies"]
    assert renamed[0]["title"] == "Near <b>seed 3</b>"
    assert room.ask("forget_study", id=listed[0]["id"]) == {"done": True}
    assert room.ask("studies", operation="neighbourhood") == {"studies": []}
    assert room.ask("studies", operation="sweep")["studies"]
    assert room.ask("restore_study", id=listed[0]["id"]) == {"done": True}
    assert [s["id"] for s in room.ask("studies", operation="neighbourhood")["studies"]] == [listed[0]["id"]]


def test_a_stop_ends_the_study_and_frees_its_turn(room):
    study = plan_sweep(BASE.replace(num_inference_steps=40), "seed", "11, 12, 13", exact=True)
    values = []
    for value in room.runner.run(room.visitor, "tab", lambda: (study, CAPTURE), reuse=True):
        values.append(value)
        if any(cell["step"] > 1 for cell in value["cells"].values()):
            room.runner.sessions.stop("tab")
    assert values[-1]["status"] == "stopped"
    assert room.turns.ahead(room.turns.join()) == 0


def test_a_wrong_field_is_named():
    def asked():
        raise InvalidParams("The radius is 2.", field="radius")

    runner = StudyRunner(None, Turns(), Running())
    [value] = list(runner.run("v", "tab", asked, True))
    assert value["status"] == "failed"
    assert value["error"] == {"field": "radius", "message": "The radius is 2."}


@pytest.mark.parametrize("field", FIRST_VALUES)
def test_what_the_form_offers_first_can_be_swept(field):
    spec = plan_sweep(BASE, field, FIRST_VALUES[field]).spec
    again = plan_sweep(BASE, field, own_value("values", spec)).spec
    assert again["values"] == spec["values"]


@pytest.mark.parametrize("lanes", [["euler"], ["scheduler="]])
def test_a_lane_that_cannot_be_read_is_refused(lanes):
    with pytest.raises(InvalidParams) as caught:
        to_lanes(lanes)
    assert caught.value.field == "lanes"


def test_what_only_one_lane_does_not_read_is_said_under_its_name():
    asked = plan_sweep(BASE, "guidance_scale", "1, 6", lanes=to_lanes(["scheduler=euler"]))
    view = StudyView("visitor")
    view.add(StudyChanged(asked))
    first, *_, last = (cell.key for cell in asked.cells)
    view.unread(first, {"unknown": [{"of": "prompt", "words": ["cat"]}]})
    assert view.value()["notes"] == [f"{asked.lanes[0].name}: The model was never taught: cat."]
    view.unread(last, {"unknown": [{"of": "prompt", "words": ["cat"]}]})
    assert view.value()["notes"] == ["The model was never taught: cat."]
    for number, cell in enumerate(asked.cells):
        view.unread(
            cell.key, {"unknown": [{"of": "prompt", "words": [f"cat{k}" for k in range(number + 1)]}]}
        )
    assert len(view.value()["notes"]) == len(asked.cells) == 4
