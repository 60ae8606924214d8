"""What the pages and exports say of a run that `observe` made of a call on a pipeline in memory."""

from __future__ import annotations

import json
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from diffatlas import Capture, GenerationParams, observe
from diffatlas.backends.listed import refuse_server_files
from diffatlas.errors import InvalidParams
from diffatlas.formats import told
from diffatlas.formats.html.data import Detail, page_data
from diffatlas.formats.kinds import KINDS, export
from diffatlas.formats.named import Named
from diffatlas.formats.report.parts import facts
from diffatlas.operations.trace import shared_local_backend
from diffatlas.params import seed_words
from diffatlas.ui import links
from diffatlas.ui.asked_words import also_told
from diffatlas.ui.components.form import query_of
from diffatlas.ui.layers import Layers
from diffatlas.ui.libraries import Libraries
from diffatlas.ui.library_services import LibraryServices
from diffatlas.ui.services import Services
from diffatlas.ui.turns import Turns
from diffatlas.ui.visitors import COOKIE, visitor_of

REQUEST = SimpleNamespace(cookies={COOKIE: "1" * 32})
VISITOR = visitor_of(REQUEST)
LEFT_OUT = "Not among the settings: generator. No generator was given"


@pytest.fixture(scope="module")
def room(tmp_path_factory, shapes_pipe):
    """The calls of the Library and the Trajectory page on a run of image-to-image, of noise from no known seed."""
    from diffusers import StableDiffusionImg2ImgPipeline

    pipe = StableDiffusionImg2ImgPipeline(**shapes_pipe.components, requires_safety_checker=False)
    pipe.set_progress_bar_config(disable=True)
    start = Image.new("L", (64, 64), 230)
    start.paste(40, (16, 16, 48, 48))
    libraries = Libraries(tmp_path_factory.mktemp("runs"))
    library, layers = libraries.of(VISITOR), Layers(libraries)
    torch.rand(1)  # torch's own generator has been used
    with observe(pipe, Capture(previews="every", attention="cross"), record=library) as trace:
        pipe("a red square", image=start.convert("RGB"), strength=0.6, eta=0.5, num_inference_steps=5)
    services = [
        LibraryServices(libraries, layers, shared_local_backend(), {}, Turns()),
        Services(layers, shared_local_backend(), {}),
    ]
    calls = {call.__name__: call for each in services for call in each.functions if call.__name__ != "export"}

    def ask(name, **asked):
        answer = calls[name](asked, REQUEST)
        return json.loads(answer.body) if hasattr(answer, "body") else answer

    assert ask("open", ids=[trace.run.id]) == {"layers": [trace.run.id]}
    return SimpleNamespace(ask=ask, id=trace.run.id, library=library, start=start)


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "cache"))


def as_rows(also):
    return {name: words for name, words, _ in also}


def test_the_settings_say_what_the_call_had_and_what_it_ran_on(room):
    stored = room.library.open(room.id)
    assert stored.params.seed is None
    digest = stored.provenance["revision"]["digest"]
    for answer, also in (
        (found := room.ask("details", id=room.id), found["also"]),
        (found := room.ask("run_data", id=room.id), found["run"]["also"]),
    ):
        rows = as_rows(also)
        assert rows["arguments"] == "strength 0.6, eta 0.5"
        assert rows["pipeline"] == "StableDiffusionImg2ImgPipeline, in memory"
        assert rows["digest"] == digest[:12]
        assert any(text.startswith(LEFT_OUT) for text in answer["notes"])


def test_the_pictures_that_it_was_given_are_the_visitors_own_files(room):
    for name in ("details", "run_data"):
        (one,) = room.ask(name, id=room.id)["inputs"]
        assert (one["name"], one["width"], one["height"]) == ("image", 64, 64)
        path = Path(one["url"].removeprefix("gradio_api/file="))
        assert VISITOR in path.parts
        shown = np.asarray(Image.open(path))
        assert np.array_equal(shown[..., 0], np.asarray(room.start))


def test_large_pictures_are_shown_small_and_masks_too(tmp_path):
    from diffatlas import ImageInput
    from diffatlas.ui.components.pictures import given_pictures

    wide, mask = Image.new("RGBA", (2000, 500), "red"), Image.new("1", (64, 64), 1)
    inputs = (
        ImageInput.of("image", wide, (1,)),
        ImageInput.of("mask_image", mask),
        ImageInput("control_image", "0" * 64, "RGB", 8, 8),
    )
    shown = given_pictures(GenerationParams(prompt="a", inputs=inputs), VISITOR)
    assert [one["name"] for one in shown] == ["image 2", "mask_image", "control_image"]
    pictures = [Image.open(one["url"].removeprefix("gradio_api/file=")) for one in shown[:2]]
    assert [picture.size for picture in pictures] == [(512, 128), (64, 64)]
    assert pictures[1].getextrema() == (255, 255)
    assert shown[2]["url"] is None


def test_a_link_says_what_the_form_has_no_field_for(room):
    params = room.library.open(room.id).params
    query = query_of(params)
    assert (query["seed"], query["extra"], query["inputs"]) == ("unknown", "strength 0.6, eta 0.5", "image")

    def problem(query):
        return links.fill(query, lambda model: None, "shapes")[1]

    assert "no known seed" in problem(query)
    assert "the further arguments 'strength 0.6, eta 0.5', for which" in problem({"extra": query["extra"]})
    assert "pictures (image), which no link carries" in problem({**query, "seed": "7"})
    assert "no model 'StableDiffusionImg2ImgPipeline'" in problem({"model": query["model"], "seed": "7"})


def test_it_is_not_explored_nor_replayed_without_its_pipeline(room):
    assert "no known seed" in room.ask("explore", ids=[room.id])["error"]["message"]
    job = room.ask("replay", id=room.id)["job"]
    for _ in range(400):
        state = room.ask("replay_state", job=job)
        if state.get("error") or state.get("report"):
            break
        time.sleep(0.05)
    assert "cannot be made again from its record" in state["error"]["message"]


def test_its_steps_are_read_and_a_decode_without_its_model_is_a_sentence(room):
    assert room.ask("step", id=room.id, index=1)["index"] == 1
    told = room.ask("step", id=room.id, index=1, decode=True)
    assert "no model 'StableDiffusionImg2ImgPipeline'" in json.dumps(told)


def test_a_shared_server_runs_no_arguments_but_those_of_its_forms(room):
    given = room.library.open(room.id).params
    params = GenerationParams(prompt="a circle", inputs=given.inputs, extra={"strength": 0.6})
    refuse_server_files(params)
    with pytest.raises(InvalidParams, match="On a shared server") as error:
        refuse_server_files(params.replace(extra=given.extra))
    assert error.value.field == "extra"


def test_exports_know_no_seed_called_none(room):
    run = Named("observed", room.library.load(room.id), "#1f1a17")
    request, machine = (dict(rows) for rows in facts(run.run))
    assert request["Seed"] == "no known seed"
    assert request["Arguments"] == "strength 0.6, eta 0.5"
    assert machine["Pipeline"] == "StableDiffusionImg2ImgPipeline, in memory"
    assert "Revision" not in machine
    for kind in KINDS:
        data = export(kind, [run])
        assert data, kind
        if kind in ("html", "svg"):
            text = data.decode()
            assert "seed None" not in text
            assert "seed null" not in text
    (held,) = page_data([run], Detail())["runs"]
    assert "arguments strength 0.6, eta 0.5" in held["also"]
    assert held["notes"][0].startswith(LEFT_OUT)
    assert [(one["name"], one["url"][:10]) for one in held["inputs"]] == [("image", "data:image")]
    pdf = export("pdf", [run])
    without = export("pdf", [Named("observed", _without_inputs(run.run), "#1f1a17")])
    assert pdf.count(b"/Subtype /Image") == without.count(b"/Subtype /Image") + 1


def _without_inputs(run):
    from dataclasses import replace

    return replace(run, params=run.params.replace(inputs=()))


def test_what_is_not_the_usual_is_told_in_words():
    memory = {"source": "memory", "pipeline": "MyPipeline"}
    params = GenerationParams(prompt="a", extra={"eta": 0.5, "clip_skip": None, "prompt_2": "b", "on": True})
    assert as_rows(also_told(params)) == {"arguments": "eta 0.5, clip_skip none, prompt_2 b, on yes"}
    assert dict(told.made_with(params.replace(extra=None), {})) == {}
    rows = dict(
        told.made_with(
            params,
            memory
            | {
                "revision": {"no_digest": "Its part x has no weights that can be read."},
                "adapters": {"unet": {"style": 0.8, "odd": None}, "text_encoder": {"style": 1.0}},
            },
        )
    )
    assert rows["digest"] == "none. Its part x has no weights that can be read."
    assert rows["adapters"] == "unet: style at 0.8, odd; text_encoder: style at 1"
    assert rows["pipeline"] == "MyPipeline, in memory"
    put = {"offload": "group", "vae": ["tiling", "slicing"], "compile": "blocks", "without": {"x": "Why."}}
    assert dict(told.made_with(params, {"placement": put}))["loaded"] == (
        "offload group, VAE tiling and slicing, compiled (blocks), without effect: x"
    )
    # Of a run that comes from elsewhere.
    assert "loaded" not in dict(told.made_with(params, {"placement": {"vae": "tiling", "without": 3}}))
    assert told.left_out({"call": {"left_out": {"latents": "They were given."}}}) == [
        "Not among the settings: latents. They were given."
    ]
    assert told.left_out({}) == told.left_out({"call": None}) == []
    assert (seed_words(7), seed_words(None)) == ("seed 7", "no known seed")
    assert params.replace(seed=None).seed_words == "no known seed"
