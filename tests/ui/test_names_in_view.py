"""Layers, comparisons, exports and lists name what differs between the runs in view."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from diffatlas.capture.spec import Capture
from diffatlas.library import Library
from diffatlas.operations.projections import Projections
from diffatlas.operations.trace import shared_local_backend, stream
from diffatlas.params import GenerationParams, Noise
from diffatlas.run import collect
from diffatlas.ui.attention_services import AttentionServices
from diffatlas.ui.layers import Layers
from diffatlas.ui.libraries import Libraries
from diffatlas.ui.library_services import LibraryServices
from diffatlas.ui.services import Services
from diffatlas.ui.turns import Turns
from diffatlas.ui.visitors import COOKIE, visitor_of

REQUEST = SimpleNamespace(cookies={COOKIE: "5" * 32})
NAMES = {"shapes": "Shapes"}
PROMPT = "a red circle"
ASKED = GenerationParams(
    prompt=PROMPT, seed=7, num_inference_steps=3, guidance_scale=3.0, width=64, height=64
)
RUNS = {
    "first": ASKED,
    "guided": ASKED.replace(guidance_scale=7.5),
    "neighbour": ASKED.replace(noise=Noise("perturb", 4, 0.27)),
}
LABELS = {
    "first": "a red circle, guidance 3, unperturbed",
    "guided": "a red circle, guidance 7.5, unperturbed",
    "neighbour": "a red circle, guidance 3, radius 0.27 with seed 4",
}


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    libraries = Libraries(tmp_path_factory.mktemp("runs"))
    visitor = visitor_of(REQUEST)
    library: Library = libraries.of(visitor)
    layers, backend = Layers(libraries), shared_local_backend()
    ids = {}
    for name, params in RUNS.items():
        run = collect(stream(params, Capture(previews="every", attention="cross"), library=library))
        ids[name] = run.id
        layers.open(visitor, run.id, PROMPT)
    made = (
        Services(layers, backend, NAMES, Projections()),
        AttentionServices(libraries, layers, backend, NAMES),
        LibraryServices(libraries, layers, backend, NAMES, Turns()),
    )
    calls = [{call.__name__: call for call in services.functions} for services in made]

    def ask(page, call, /, **asked):
        answer = calls[page][call](asked, REQUEST)
        return json.loads(answer.body) if hasattr(answer, "body") else answer

    return SimpleNamespace(ask=ask, ids=ids, library=library)


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))


def test_layers_say_what_differs_and_keep_the_name_that_is_changed(room):
    layers = room.ask(0, "layers")["layers"]
    assert {layer["id"]: layer["label"] for layer in layers} == {
        room.ids[name]: label for name, label in LABELS.items()
    }
    assert {layer["name"] for layer in layers} == {PROMPT}
    renamed = room.ask(0, "edit", action="rename", id=room.ids["guided"], name="strong")["layers"]
    assert {layer["label"] for layer in renamed} == {
        "strong",
        "a red circle, unperturbed",
        "a red circle, radius 0.27 with seed 4",
    }
    room.ask(0, "edit", action="rename", id=room.ids["guided"], name=PROMPT)


def test_a_comparison_names_two_different_things(room):
    figure = room.ask(0, "compare", a=room.ids["first"], b=room.ids["guided"])
    for layout in figure["layouts"].values():
        assert LABELS["first"] in layout["meta"]["says"]
        assert LABELS["guided"] in layout["meta"]["says"]


def test_files_are_named_by_what_differs(room):
    one = room.ask(0, "export", kind="csv", ids=[room.ids["guided"]])
    assert "guidance-7-5" in one["name"]
    all_of_them = room.ask(0, "export", kind="csv", ids=list(room.ids.values()))
    with open(all_of_them["url"].removeprefix("gradio_api/file=")) as file:
        text = file.read()
    assert all(label in text for label in LABELS.values())


def test_lists_of_runs_tell_them_apart(room):
    for page, call in ((1, "attention_runs"), (2, "find")):
        rows = room.ask(page, call)["runs"]
        titles = {row["id"]: row.get("label") or row["title"] for row in rows}
        assert titles == {room.ids[name]: label for name, label in LABELS.items()}
    # The rest of a list is told apart from its beginning.
    (last,) = room.ask(2, "find", offset=2, limit=1)["runs"]
    assert last["label"] == LABELS["first"]
    # From the Library, only what is exported together is in view.
    pair = [room.ids["first"], room.ids["guided"]]
    exported = room.ask(2, "export", kind="csv", ids=pair)
    with open(exported["url"].removeprefix("gradio_api/file=")) as file:
        text = file.read()
    assert "a red circle, guidance 7.5" in text
    assert "unperturbed" not in text


@pytest.mark.parametrize(
    "change",
    [
        {"params": {"guidance_method": "of another version"}},
        {"params": {"loras": [{"path": 7, "weight": "much"}]}},
        {"params": {"noise": {"kind": "slerp", "seed": 1, "amount": "half"}}},
        {"params": {"guidance_scale": "high"}},
        {"params": {"of_another_version": 1}},
        {"capture": {"of_another_version": True}},
        {"provenance": {"prompt": {"cut": [1], "unknown": "x", "known": 3}}},
    ],
)
def test_one_strange_run_takes_no_list_down(tmp_path, change):
    """A run of another version, or one that was written over by hand, beside one that is whole."""
    libraries = Libraries(tmp_path)
    visitor = visitor_of(REQUEST)
    library, layers, backend = libraries.of(visitor), Layers(libraries), shared_local_backend()
    ids = []
    for seed in (7, 8):
        run = collect(stream(ASKED.replace(seed=seed), Capture(attention="cross"), library=library))
        layers.open(visitor, run.id, PROMPT)
        ids.append(run.id)
    manifest = library.path(ids[0]) / "manifest.json"
    data = json.loads(manifest.read_text())
    for part, changes in change.items():
        data[part] |= changes
    manifest.write_text(json.dumps(data))
    answers = [
        {call.__name__: call for call in services.functions}
        for services in (
            Services(layers, backend, NAMES, Projections()),
            AttentionServices(libraries, layers, backend, NAMES),
            LibraryServices(libraries, layers, backend, NAMES, Turns()),
        )
    ]
    for page, call in ((0, "layers"), (1, "attention_runs"), (2, "find")):
        answer = answers[page][call]({}, REQUEST)
        rows = answer.get("layers") or answer.get("runs") or answer
        assert ids[1] in {row["id"] for row in rows}, answer
        titles = [row.get("label") or row["title"] for row in rows]
        assert len(set(titles)) == len(titles)
    assert answers[2]["thumbs"]({"ids": ids}, REQUEST)["thumbs"][ids[1]]
